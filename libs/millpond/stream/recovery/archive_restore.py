"""Writes an archive into a new cluster: the same bytes at the same offsets (STREAM 15)."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

from millpond.errors import MillpondError
from millpond.stream.log import Log, Outbound, Publisher
from millpond.stream.position import Extent
from millpond.stream.primed import PrimedPublisher
from millpond.stream.record import FILLER, Headers, Place
from millpond.stream.recovery.archive import Digest, Manifest, Part, check_part, difference, read_part
from millpond.stream.relay import OpenPublisher

BATCH_RECORDS_MAX = 1_000
BATCH_BYTES_MAX = 4 * 1_048_576
# A long expired beginning is written as fillers, in batches: some 70,000 a second on two busy cores.
EXPIRED = b"expired"
NO_DATA = b"no data"

# The place, the offsets written, and how many there are to be.
Told = Callable[[Place, int, int], None]
# Deletes what lies before an offset, so that a restored partition begins where the old one began.
DeleteBefore = Callable[[dict[Place, int]], Awaitable[None]]


class TopicsNotReady(MillpondError):
    """The archive can't be restored here: {differences}. Nothing was written. Run millpond topics apply on a new cluster;
    what a restore that was cut off has left must be deleted first."""


class OffsetTaken(MillpondError):
    """{place} should end at offset {expected} now, but ends at {found}: somebody else writes to it. The restore has
    stopped. Stop every writer, delete the topic, apply it again, and restore again."""


class RestoreDiffers(MillpondError):
    """{place} is not what was exported: {what} is {found}, and the manifest says {wanted}. Start nothing on this cluster:
    delete the topic, apply it again, and restore again."""


async def restore_topics(
    directory: Path, log: Log, open_publisher: OpenPublisher, delete_before: DeleteBefore, told: Told = lambda *_: None
) -> Manifest:
    """Checks all files, then the cluster, then writes, then reads back and compares. No service may run yet.

    Raises ``ArchiveUnreadable``, ``ArchiveDamaged``, ``TopicsNotReady``, ``OffsetTaken``, ``RestoreDiffers``,
    ``SendFailed``, ``LogAway``.
    """
    manifest = Manifest.read(directory)
    for part in manifest.parts:
        check_part(directory, part)
    await _check_ready(manifest, log)
    for part in manifest.parts:
        if part.end:
            publisher = PrimedPublisher(await open_publisher())
            try:
                await _write(publisher, directory, part, told)
            finally:
                await publisher.close()
    for part in manifest.parts:
        await _check_written(directory, part, log)
    expired = {part.place: part.beginning for part in manifest.parts if part.beginning}
    if expired:
        await delete_before(expired)
    return manifest


async def _check_ready(manifest: Manifest, log: Log) -> None:
    found = await log.partitions(list(manifest.partitions))
    wrong = [
        f"{topic} has {found[topic]} partitions, not {count}" if found[topic] else f"{topic} is missing"
        for topic, count in manifest.partitions.items()
        if found[topic] != count
    ]
    extents = await log.extents([part.place for part in manifest.parts])
    wrong += [f"{place} is not empty" for place, extent in extents.items() if extent != Extent(0, 0)]
    if wrong:
        raise TopicsNotReady(differences="; ".join(wrong))


async def _write(publisher: Publisher, directory: Path, part: Part, told: Told) -> None:
    written = 0
    for batch in _batches(_filled(directory, part)):
        end = await (await publisher.send(part.place, batch))
        written += len(batch)
        if end != written:
            raise OffsetTaken(place=part.place, expected=written, found=end)
        told(part.place, written, part.end)


def _filled(directory: Path, part: Part) -> Iterator[Outbound]:
    """A record for every offset from 0 on: those of the archive, and fillers where it has none."""
    next_offset, timestamp_ms = 0, None
    for record in read_part(directory, part):
        for offset in range(next_offset, record.offset):
            # Never older than its neighbours: retention must not take a segment before its time.
            yield _filler(offset, part, record.timestamp_ms)
        yield Outbound(record.key, record.value, cast(Headers, record.headers), record.timestamp_ms)
        next_offset, timestamp_ms = record.offset + 1, record.timestamp_ms
    for offset in range(next_offset, part.end):
        yield _filler(offset, part, timestamp_ms or time.time_ns() // 1_000_000)


def _filler(offset: int, part: Part, timestamp_ms: int) -> Outbound:
    return Outbound(None, None, ((FILLER, EXPIRED if offset < part.beginning else NO_DATA),), timestamp_ms)


def _batches(records: Iterator[Outbound]) -> Iterator[list[Outbound]]:
    batch: list[Outbound] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.value or b"")
        if len(batch) == BATCH_RECORDS_MAX or size > BATCH_BYTES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


async def _check_written(directory: Path, part: Part, log: Log) -> None:
    """What stands there now, but for our own fillers, is what was exported. Raises ``RestoreDiffers``."""
    found = (await log.extents([part.place]))[part.place].end
    if found != part.end:
        raise OffsetTaken(place=part.place, expected=part.end, found=found)
    digest = Digest()
    archived = read_part(directory, part)
    expected = next(archived, None)
    async for record in log.read(part.place, part.beginning, part.end):
        if expected is not None and record.offset == expected.offset:
            digest.take(record)
            expected = next(archived, None)
        elif not record.is_filler:
            raise RestoreDiffers(place=part.place, what=f"offset {record.offset}", found="a record", wanted="a filler")
    if differs := difference(part, digest):
        raise RestoreDiffers(place=part.place, **differs)
