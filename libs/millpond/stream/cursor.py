"""How far a read model is, as one short text that can be handed out and given back."""

from __future__ import annotations

import binascii
import json
import re
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json

from millpond.errors import MillpondError
from millpond.stream.record import Place

# A cursor comes from outside: neither its text nor what it unpacks to may be large.
TEXT_CHARACTERS_MAX: Final = 4_096
JSON_BYTES_MAX: Final = 65_536
OFFSET_MAX: Final = 2**63 - 1
PARTITION_DIGITS_MAX: Final = 4


class CursorUnreadable(MillpondError):
    """This is not a cursor: {problem}. Give back the text that came with an answer as it is, or begin without one."""


@dataclass(frozen=True)
class Cursor:
    """The vector of offsets: per place the next one not yet applied. A place that is missing was not read: offset 0."""

    offsets: Mapping[Place, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", {place: at for place, at in sorted(self.offsets.items()) if at})

    def covers(self, other: Cursor) -> bool:
        """Whether everything that lies before ``other`` lies before this one, too."""
        return all(self.offsets.get(place, 0) >= offset for place, offset in other.offsets.items())

    def encode(self) -> str:
        """Letters, digits, ``-`` and ``_``: fits into a URL or a header. The same cursor gives the same text."""
        topics: dict[str, dict[str, int]] = {}
        for (topic, partition), offset in self.offsets.items():
            topics.setdefault(topic, {})[str(partition)] = offset
        packed = zlib.compress(json.dumps(topics, separators=(",", ":")).encode(), 9)
        return urlsafe_b64encode(packed).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Cursor:
        """Raises ``CursorUnreadable`` for whatever ``encode`` has not written."""
        cursor = cls(_offsets(_unpacked(text)))
        if cursor.encode() != text:
            raise CursorUnreadable(problem="it was changed")
        return cursor


def _unpacked(text: str) -> object:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise CursorUnreadable(problem=f"it has {len(text)} characters, {TEXT_CHARACTERS_MAX} at most are allowed")
    try:
        packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(packed, JSON_BYTES_MAX)
        if not unpacker.eof:
            raise CursorUnreadable(problem="it is cut off, or unpacks to too much")
        # Not json.loads: what is nested too deep is an error of its own there, and would take the interpreter to its limit.
        return from_json(raw)
    except (UnicodeError, binascii.Error, zlib.error, ValueError) as cause:
        raise CursorUnreadable(problem=f"it can't be unpacked ({type(cause).__name__})") from cause


def _offsets(topics: object) -> dict[Place, int]:
    offsets = {}
    for topic, partitions in _items(topics):
        for partition, offset in _items(partitions):
            is_partition = re.fullmatch(f"[0-9]{{1,{PARTITION_DIGITS_MAX}}}", partition)
            if not is_partition or type(offset) is not int or not 0 < offset <= OFFSET_MAX:
                raise CursorUnreadable(problem="what it holds are not offsets of partitions")
            offsets[Place(topic, int(partition))] = offset
    return offsets


def _items(found: object) -> list[tuple[str, object]]:
    if not isinstance(found, dict):
        raise CursorUnreadable(problem="what it holds are not offsets of partitions")
    return list(found.items())
