"""An export of topics as plain files: what is in them, and how it is told that nothing was changed (STREAM 15).

A directory holds ``manifest.json`` and per partition ``<topic>/<partition>.jsonl.gz``: one line per record, in order of
offset, ``{"offset", "timestamp_ms", "key", "value", "headers": [[name, value], ...]}``; bytes in base64, null for null.
An offset without a line holds no data: it had expired before the export, or held a control record.
``zcat usage/0.jsonl.gz | jq`` reads it; nothing but this module needs to be believed to check it.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from millpond.errors import MillpondError
from millpond.stream.record import Place, Record, record_hash

FORMAT: Final = "millpond-archive/1"
MANIFEST: Final = "manifest.json"
# Records are JSON in base64: the fastest level already takes most of it out.
GZIP_LEVEL: Final = 1


class ArchiveUnreadable(MillpondError):
    """{path} is not an archive that this version can read: {cause}"""


class ArchiveDamaged(MillpondError):
    """{path} is not what was exported: {what} is {found}, and the manifest says {wanted}. Nothing was written. Use
    another copy of the archive."""


@dataclass(frozen=True)
class Part:
    """One partition of an archive: offsets ``beginning`` (included) to ``end`` (excluded).

    ``sha256`` is the file's. ``lines_sha256`` is that of its lines, whatever the compression. ``records_hash`` chains
    ``record_hash`` from 32 zero bytes on: the same as an epoch's cut and a position's proof are made of.
    """

    topic: str
    partition: int
    file: str
    beginning: int
    end: int
    records: int
    sha256: str
    lines_sha256: str
    records_hash: str

    @property
    def place(self) -> Place:
        return Place(self.topic, self.partition)


@dataclass(frozen=True)
class Manifest:
    """What an archive holds. ``partitions``: how many each topic has."""

    exported_at: str
    partitions: dict[str, int]
    parts: tuple[Part, ...]

    def write(self, directory: Path) -> None:
        """Last of all, and at once: a directory without a manifest is no archive."""
        document = {"format": FORMAT, **asdict(self)}
        partial = directory / f"{MANIFEST}.partial"
        partial.write_text(json.dumps(document, indent=1) + "\n")
        partial.rename(directory / MANIFEST)

    @classmethod
    def read(cls, directory: Path) -> Manifest:
        """Raises ``ArchiveUnreadable``."""
        path = directory / MANIFEST
        try:
            document: dict[str, Any] = json.loads(path.read_text())
            if document["format"] != FORMAT:
                raise ArchiveUnreadable(path=path, cause=f"its format is {document['format']}, not {FORMAT}")
            parts = tuple(Part(**part) for part in document["parts"])
            return cls(document["exported_at"], document["partitions"], parts)
        except (OSError, ValueError, KeyError, TypeError) as cause:
            raise ArchiveUnreadable(path=path, cause=repr(cause)) from cause


class Digest:
    """Over the records of one partition, as they come: the same before and after, or something was changed."""

    def __init__(self) -> None:
        self._lines = hashlib.sha256()
        self._records = bytes(32)
        self.count = 0

    def take(self, record: Record) -> bytes:
        """Returns the record's line."""
        line = to_line(record)
        self._lines.update(line)
        self._records = hashlib.sha256(self._records + record_hash(record)).digest()
        self.count += 1
        return line

    @property
    def lines_sha256(self) -> str:
        return self._lines.hexdigest()

    @property
    def records_hash(self) -> str:
        return self._records.hex()


def to_line(record: Record) -> bytes:
    document = {
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _packed(record.key),
        "value": _packed(record.value),
        "headers": [[name, _packed(value)] for name, value in record.headers],
    }
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def from_line(place: Place, line: bytes) -> Record:
    document = json.loads(line)
    return Record(
        *place,
        document["offset"],
        _unpacked(document["key"]),
        _unpacked(document["value"]),
        tuple((name, _unpacked(value)) for name, value in document["headers"]),
        document["timestamp_ms"],
    )


def read_part(directory: Path, part: Part) -> Iterator[Record]:
    """The records of a partition, one in memory at a time. The file must have been checked."""
    with gzip.open(directory / part.file, "rb") as lines:
        for line in lines:
            yield from_line(part.place, line)


def check_part(directory: Path, part: Part) -> None:
    """Raises ``ArchiveDamaged`` unless the file holds exactly the records that were exported."""
    path = directory / part.file
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise ArchiveUnreadable(path=path, cause=repr(cause)) from cause
    if found != part.sha256:
        raise ArchiveDamaged(path=path, what="its SHA-256", found=found, wanted=part.sha256)
    # The file is whole; whether the manifest beside it still belongs to it is another question.
    digest, last = Digest(), part.beginning - 1
    for record in read_part(directory, part):
        if not last < record.offset < part.end:
            raise ArchiveDamaged(
                path=path, what="an offset", found=record.offset, wanted=f"above {last} and below {part.end}"
            )
        digest.take(record)
        last = record.offset
    if differs := difference(part, digest):
        raise ArchiveDamaged(path=path, **differs)


def difference(part: Part, digest: Digest) -> dict[str, object]:
    """What is not as the manifest says, as an error's facts; empty if everything is."""
    for name, found, wanted in (
        ("the number of records", digest.count, part.records),
        ("the hash of the lines", digest.lines_sha256, part.lines_sha256),
        ("the running hash of the records", digest.records_hash, part.records_hash),
    ):
        if found != wanted:
            return {"what": name, "found": found, "wanted": wanted}
    return {}


def _packed(raw: bytes | None) -> str | None:
    return None if raw is None else b64encode(raw).decode()


def _unpacked(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
