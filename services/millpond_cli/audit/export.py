"""Writes an epoch's bundle: the ranges that its audit reads, and for each contributor a proof of his own lines."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.topics import (
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    METERING_USAGE,
    OPERATOR_COMMANDS,
    POOL_TERMS,
    REGISTRY_MEMBERS,
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    REWARDS_STATEMENTS,
    SCHEDULER_ASSIGNMENTS,
    TOPICS,
    TREASURY_SETTLEMENTS,
)
from millpond.proofs.merkle import leaf_hash, path_in, tree_levels
from millpond.proofs.statement import prove_statements
from millpond.stream.log import Log
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record
from millpond.stream.recovery.archive import Manifest
from millpond.stream.recovery.archive_export import Told, export_ranges
from millpond_cli.audit.bundle import Bundle, hashes_name, write_hashes
from millpond_cli.audit.completeness import sources_of
from millpond_cli.audit.contributor import PROOFS
from millpond_cli.audit.cuts import LETTERS
from millpond_cli.audit.lines import is_line
from millpond_cli.audit.published import NothingClosed, Published, published_on
from millpond_cli.audit.reading import as_bytes, batches, everything, numbered, read

# What an audit of any epoch reads from the beginning: little, beside lines and their sources.
WHOLE: Final = (
    REWARDS_EPOCHS,
    REWARDS_STATEMENTS,
    REWARDS_PAYOUTS,
    POOL_TERMS,
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    TREASURY_SETTLEMENTS,
    REGISTRY_MEMBERS,
    OPERATOR_COMMANDS,
    LETTERS,
)
PROOF_FORMAT: Final = "millpond-lines/1"


async def export_epoch(
    directory: Path, epoch: int, log: Log, *, where: str, now: datetime, told: Told = lambda *_: None
) -> Manifest:
    """Raises ``NothingClosed``, and what ``export_ranges`` raises."""
    published = await published_on(log)
    if epoch not in published.closed:
        raise NothingClosed(what=f"Epoch {epoch} has not been closed", where=where)
    whole = [Place(topic.name, partition) for topic in WHOLE for partition in range(topic.partitions)]
    ranges = await log.extents(whole)
    ranges |= await _ranges(log, published, epoch)
    topics = {place.topic: (TOPICS.get(place.topic) or LETTERS).partitions for place in ranges}
    manifest = await export_ranges(directory, topics, ranges, log, now=now, told=told)
    hashes = {hashes_name(part): write_hashes(directory, part) for part in manifest.parts}
    hashes |= await _write_proofs(directory, log, published, epoch)
    Bundle(directory, epoch, hashes).write()
    return manifest


async def _ranges(log: Log, published: Published, epoch: int) -> dict[Place, Extent]:
    """Of the lines, and of what they were decided from; and of lines of the epoch before whose attempts fall into this one."""
    ranges: dict[Place, Extent] = {}
    before, closing = published.closings.get(epoch - 1), published.closings.get(epoch)
    for topic, ends in ({} if closing is None else closing.event.ends).items():
        starts = (0,) * len(ends) if before is None else before.event.ends.get(topic, (0,) * len(ends))
        for partition, (start, end) in enumerate(zip(starts, ends, strict=True)):
            ranges[Place(topic, partition)] = Extent(min(start, end), end)
    for place, cut in _lines_cut(published.closed[epoch].event).items():
        start = cut.beginning
        if epoch:
            start = await _first_early(log, published, epoch - 1, place, start)
        ranges[place] = Extent(start, cut.end)
        async for batch in batches(log, place, cut.beginning, cut.end, lambda _: None):
            for record in filter(is_line, batch):
                for source in sources_of(record):
                    known = ranges.get(Place(source.topic, source.partition))
                    ranges[Place(source.topic, source.partition)] = (
                        Extent(source.offset, source.offset + 1)
                        if known is None
                        else Extent(min(known.beginning, source.offset), max(known.end, source.offset + 1))
                    )
    return ranges


async def _first_early(log: Log, published: Published, epoch: int, place: Place, start: int) -> int:
    closing = published.closings.get(epoch)
    ends = () if closing is None else closing.event.ends.get(SCHEDULER_ASSIGNMENTS.name, ())
    cut = _lines_cut(published.closed[epoch].event)[place]
    async for batch in batches(log, place, cut.beginning, cut.end, lambda _: None):
        for record in filter(is_line, batch):
            kept = sources_of(record)[1:2]
            if kept and kept[0].partition < len(ends) and kept[0].offset >= ends[kept[0].partition]:
                return min(start, record.offset)
    return start


def _lines_cut(closed: EpochClosed) -> dict[Place, Extent]:
    return {
        Place(cut.topic, cut.partition): Extent(cut.start, cut.next_offset)
        for cut in closed.cut
        if cut.topic == METERING_USAGE.name
    }


async def _write_proofs(directory: Path, log: Log, published: Published, epoch: int) -> dict[str, str]:
    """A file per contributor: the epoch as it was signed, his statements, his lines, each with its way to the root."""
    folder = directory / PROOFS
    folder.mkdir()
    heads = await _heads(log, published, epoch)
    for contributor, head in heads.items():
        _append(folder, contributor, [json.dumps(head)])
    numbers = (
        {}
        if epoch == 0
        else {c.partition: c.numbers for c in published.closed[epoch - 1].event.cut if c.topic == METERING_USAGE.name}
    )
    for place, cut in _lines_cut(published.closed[epoch].event).items():
        known = numbers.get(place.partition, {})
        levels = tree_levels([leaf_hash(r.value or b"") async for r in _lines(log, place, cut, known)])
        index, waiting = 0, dict[str, list[str]]()
        async for record in _lines(log, place, cut, known):
            path = ["0x" + beside.hex() for beside in path_in(levels, index)]
            value = (record.value or b"").decode()
            kind = (record.header("ce_type") or b"").decode()
            row = {"type": kind, "partition": place.partition, "index": index, "path": path, "value": value}
            line = read(METERING_USAGE, record).event
            assert isinstance(line, UsageRecorded | UsageHeld)
            if line.contributor in heads:
                waiting.setdefault(line.contributor, []).append(json.dumps(row))
            index += 1
        for contributor, rows in waiting.items():
            _append(folder, contributor, rows)
    return {f"{PROOFS}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


async def _lines(log: Log, place: Place, cut: Extent, numbers: Mapping[str, int]) -> AsyncIterator[Record]:
    known = as_bytes(numbers)
    async for batch in batches(log, place, cut.beginning, cut.end, lambda _: None):
        for record in numbered(batch, known, ()):
            if is_line(record):
                yield record


async def _heads(log: Log, published: Published, epoch: int) -> dict[str, dict[str, object]]:
    closed, statements = published.closed[epoch], published.statements_of(epoch)
    roots = [bytes.fromhex(head.root[2:]) for head in closed.event.lines]
    previous = bytes.fromhex(closed.event.previous_root[2:])
    values = [said.record.value or b"" for said in statements]
    proofs = prove_statements(epoch, previous, roots, values)
    document = await _terms(log, closed.event.terms_hash)
    heads: dict[str, dict[str, object]] = {}
    for said, proof in zip(statements, proofs, strict=True):
        head = heads.setdefault(
            said.event.contributor,
            {
                "format": PROOF_FORMAT,
                "epoch": epoch,
                "contributor": said.event.contributor,
                "terms": document,
                "closed": (closed.record.value or b"").decode(),
                "checkpoint": (published.checkpoints[epoch].record.value or b"").decode(),
                "statements": [],
            },
        )
        head["statements"].append(proof.model_dump(mode="json"))  # type: ignore[attr-defined]  # the list above
    return heads


async def _terms(log: Log, wanted: str) -> str:
    for record in await everything(log, POOL_TERMS):
        event = read(POOL_TERMS, record).event
        if getattr(event, "terms_hash", None) == wanted:
            return str(getattr(event, "document", ""))
    raise NothingClosed(what=f"There are no terms {wanted}", where=POOL_TERMS.name)


def _append(folder: Path, contributor: str, rows: Iterable[str]) -> None:
    # A member more of the same file: gzip reads them as one.
    with (folder / f"{contributor}.jsonl.gz").open("ab") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as lines:
        lines.write("".join(f"{row}\n" for row in rows).encode())
