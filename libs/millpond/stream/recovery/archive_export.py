"""Writes topics into an archive: exactly the offsets that they held when it began (STREAM 15)."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from millpond.errors import MillpondError
from millpond.stream.log import Log
from millpond.stream.position import Extent
from millpond.stream.record import Place
from millpond.stream.recovery.archive import GZIP_LEVEL, Digest, Manifest, Part

# Progress is told this often; one call per record would cost more than the record.
TOLD_EVERY = 5_000

# The place, the records done, and how many offsets there are at most.
Told = Callable[[Place, int, int], None]


class ArchiveExists(MillpondError):
    """{directory} is not empty. Export into a new directory: an archive is never added to."""


class TopicUnknown(MillpondError):
    """There is no topic {topic} on the cluster. millpond topics list says which there are."""


async def export_topics(
    directory: Path, topics: Sequence[str], log: Log, *, now: datetime, told: Told = lambda *_: None
) -> Manifest:
    """Exports every partition up to the end that it has now; what is written meanwhile is not in it.

    Raises ``ArchiveExists``, ``TopicUnknown``, ``RecordsExpired`` (retention overtook the export: try again), ``LogAway``.
    """
    if _holds_something(directory):
        raise ArchiveExists(directory=directory)
    partitions = await log.partitions(topics)
    for topic in topics:
        if not partitions[topic]:
            raise TopicUnknown(topic=topic)
    places = [Place(topic, partition) for topic in topics for partition in range(partitions[topic])]
    counts = {topic: partitions[topic] for topic in topics}
    return await export_ranges(directory, counts, await log.extents(places), log, now=now, told=told)


async def export_ranges(
    directory: Path,
    partitions: Mapping[str, int],
    ranges: Mapping[Place, Extent],
    log: Log,
    *,
    now: datetime,
    told: Told = lambda *_: None,
) -> Manifest:
    """Exports exactly these ranges. ``partitions``: how many each topic has. Raises as ``export_topics`` does."""
    if _holds_something(directory):
        raise ArchiveExists(directory=directory)
    parts = [await _export(directory, place, extent, log, told) for place, extent in ranges.items()]
    manifest = Manifest(now.astimezone(UTC).isoformat(timespec="seconds"), dict(partitions), tuple(parts))
    manifest.write(directory)
    return manifest


def _holds_something(directory: Path) -> bool:
    return directory.exists() and any(directory.iterdir())


async def _export(directory: Path, place: Place, extent: Extent, log: Log, told: Told) -> Part:
    name = f"{place.topic}/{place.partition}.jsonl.gz"
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = Digest()
    # Without a name and a time in the file, the same records give the same bytes.
    with path.open("wb") as raw, gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as lines:
        async for record in log.read(place, extent.beginning, extent.end):
            lines.write(digest.take(record))
            if digest.count % TOLD_EVERY == 0:
                told(place, digest.count, extent.end - extent.beginning)
    told(place, digest.count, extent.end - extent.beginning)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Part(
        topic=place.topic,
        partition=place.partition,
        file=name,
        beginning=extent.beginning,
        end=extent.end,
        records=digest.count,
        sha256=sha256,
        lines_sha256=digest.lines_sha256,
        records_hash=digest.records_hash,
    )
