"""An epoch's records as plain files: all that an audit of it needs, so that it needs no broker.

An archive (``millpond.stream.recovery.archive``) of exact ranges, and beside it ``bundle.json``, per partition
``<topic>/<partition>.hashes`` (32 bytes a line: so it is known which one was changed), and ``contributors/``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import AsyncIterator, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond.errors import MillpondError
from millpond.stream.log import LogEndsBefore, RecordsExpired
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record
from millpond.stream.recovery.archive import ArchiveUnreadable, Manifest, Part, from_line
from millpond_cli.audit.difference import difference, spot

FORMAT: Final = "millpond-bundle/1"
BUNDLE: Final = "bundle.json"
HASH_BYTES: Final = 32


class NoBundle(MillpondError):
    """{path} is no bundle of an epoch: {problem}. `millpond export --epoch N DIR` makes one."""


@dataclass(frozen=True)
class Bundle:
    """``hashes``: by file of the directory, its SHA-256."""

    directory: Path
    epoch: int
    hashes: dict[str, str]

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """Raises ``NoBundle``."""
        path = directory / BUNDLE
        try:
            document = json.loads(path.read_text())
            if document["format"] != FORMAT:
                raise NoBundle(path=path, problem=f"its format is {document['format']}, not {FORMAT}")
            return cls(directory, int(document["epoch"]), {str(k): str(v) for k, v in document["sha256"].items()})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as cause:
            raise NoBundle(path=path, problem=repr(cause)) from cause

    def write(self) -> None:
        document = {"format": FORMAT, "epoch": self.epoch, "sha256": self.hashes}
        (self.directory / BUNDLE).write_text(json.dumps(document, indent=1) + "\n")


class BundleLog:
    """What a bundle holds, behind the port of a log; see ``millpond.stream.log.Log``. Topics it lacks are empty."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._parts = {part.place: part for part in Manifest.read(directory).parts}

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        return {place: self._extent(place) for place in places}

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        counts = dict.fromkeys(topics, 0)
        for place in self._parts:
            if place.topic in counts:
                counts[place.topic] = max(counts[place.topic], place.partition + 1)
        return counts

    async def read(self, place: Place, start: int, stop: int) -> AsyncIterator[Record]:
        if start >= stop:
            return
        extent = self._extent(place)
        if start < extent.beginning:
            raise RecordsExpired(place=place, start=start, beginning=extent.beginning)
        if stop > extent.end:
            raise LogEndsBefore(place=place, stop=stop, end=extent.end)
        for line in lines_of(self._directory, self._parts[place]):
            record = from_line(place, line)
            if record.offset >= stop:
                return
            if record.offset >= start:
                yield record

    def _extent(self, place: Place) -> Extent:
        part = self._parts.get(place)
        return Extent(0, 0) if part is None else Extent(part.beginning, part.end)


def lines_of(directory: Path, part: Part) -> Iterator[bytes]:
    """Raises ``ArchiveUnreadable`` for a file that is none."""
    path = directory / part.file
    try:
        with gzip.open(path, "rb") as lines:
            yield from lines
    except (OSError, EOFError, zlib.error) as cause:
        raise ArchiveUnreadable(path=path, cause=repr(cause)) from cause


def hashes_name(part: Part) -> str:
    return part.file.removesuffix(".jsonl.gz") + ".hashes"


def write_hashes(directory: Path, part: Part) -> str:
    """Of each line of a part; returns the file's SHA-256."""
    packed = b"".join(hashlib.sha256(line).digest() for line in lines_of(directory, part))
    (directory / hashes_name(part)).write_bytes(packed)
    return hashlib.sha256(packed).hexdigest()


def check_files(bundle: Bundle) -> Manifest:
    """That each file is what was exported. Raises ``Difference``, which names the very line that was edited."""
    directory = bundle.directory
    manifest = Manifest.read(directory)
    for part in manifest.parts:
        path = directory / part.file
        found = _sha256(path)
        if found != part.sha256:
            _name_line(directory, part)
            raise difference(
                f"{part.file} is not the file that was exported, though each of its lines is.",
                published=f"SHA-256 {part.sha256}",
                found=found,
                behind=[spot(part.place, part.beginning)],
            )
    for name, published in bundle.hashes.items():
        if (found := _sha256(directory / name)) != published:
            raise difference(
                f"{name} is not the file that was exported.", published=f"SHA-256 {published}", found=found, behind=[]
            )
    return manifest


def _name_line(directory: Path, part: Part) -> None:
    """Raises ``Difference`` for the first record that has not the hash it had when it was exported."""
    hashes = (directory / hashes_name(part)).read_bytes()
    count = -1
    for count, line in enumerate(lines_of(directory, part)):
        kept = hashes[count * HASH_BYTES : (count + 1) * HASH_BYTES]
        if hashlib.sha256(line).digest() != kept:
            raise difference(
                f"Line {count + 1} of {part.file} was edited, or stands in another's place.",
                published=f"a line with SHA-256 {kept.hex()}",
                found=line.decode(errors="replace"),
                behind=[spot(part.place, _offset(line, part.beginning + count))],
            )
    if count + 1 != part.records:
        raise difference(
            f"{part.file} has lost its last lines.",
            published=f"{part.records} records",
            found=count + 1,
            behind=[spot(part.place, part.end - 1)],
        )


def _offset(line: bytes, instead: int) -> int:
    try:
        return int(json.loads(line)["offset"])
    except (ValueError, KeyError, TypeError):
        return instead


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as cause:
        raise ArchiveUnreadable(path=path, cause=repr(cause)) from cause
