"""A record as it stands on a log, and what its headers say about where it came from."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

# Header names. Together with the CloudEvents ones of ``millpond.events.envelope`` these are all that Millpond writes.
OUTBOX = "outbox"
READ = "read"
DECIDED = "decided"
ITEM = "item"
FILLER = "filler"

Headers = tuple[tuple[str, bytes], ...]


class Place(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


class Record(NamedTuple):
    """One record. ``timestamp_ms`` is Unix time in milliseconds, as the writer gave it. A header's value may be None."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition)

    def header(self, name: str) -> bytes | None:
        """The first header of that name, or None."""
        for found, value in self.headers:
            if found == name:
                return value
        return None

    @property
    def is_filler(self) -> bool:
        """Whether a restore put this here to keep offsets where they were: it carries nothing."""
        return any(name == FILLER for name, _ in self.headers)


class OutboxNumber(NamedTuple):
    """A record's number in its source's outbox, and the number before it in the same partition (0: there was none)."""

    source: str
    number: int
    previous: int

    def to_header(self) -> bytes:
        return f"{self.source} {self.number} {self.previous}".encode()

    @classmethod
    def from_header(cls, header: bytes) -> OutboxNumber:
        """Raises ``ValueError`` when the header isn't ``source number previous`` with 0 <= previous < number.

        A source is text that a database can hold, so without NUL.
        """
        source, number_text, previous_text = header.decode().split(" ")
        number, previous = int(number_text), int(previous_text)
        if not source or "\0" in source or not 0 <= previous < number:
            raise ValueError(header)
        return cls(source, number, previous)


def content_hash(key: bytes | None, value: bytes | None) -> bytes:
    """SHA-256 over key and value: whether two items, or a poison and the command that names it, are the same bytes."""
    return hashlib.sha256(_framed(key) + _framed(value)).digest()


def record_hash(record: Record) -> bytes:
    """SHA-256 over offset, key, value and the outbox header (DESIGN rule 8): what a position remembers of its last record."""
    parts = (
        record.offset.to_bytes(8, "big"),
        _framed(record.key),
        _framed(record.value),
        _framed(record.header(OUTBOX)),
    )
    return hashlib.sha256(b"".join(parts)).digest()


def _framed(part: bytes | None) -> bytes:
    # A length before each part: no two different (key, value) run together to the same bytes; -1 tells null from empty.
    return (-1 if part is None else len(part)).to_bytes(8, "big", signed=True) + (part or b"")
