"""Level 3: nothing left out. Every attempt that was kept has its line, once; metering said so before the cut."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Final

from pydantic_core import SchemaValidator, core_schema

from millpond.events.envelope import CE_TYPE
from millpond.events.metering_usage import Watermark
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.scheduler_assignments import AttemptClosed
from millpond.events.topics import (
    INSPECTOR_OBSERVATIONS,
    JOB_PARTITIONS,
    METERING_USAGE,
    SCHEDULER_ASSIGNMENTS,
)
from millpond.stream.log import Log
from millpond.stream.record import OUTBOX, Place, Record
from millpond.terms import Terms
from millpond_cli.audit.difference import Spot, difference, spot, spot_of
from millpond_cli.audit.lines import LinesPart, check_lines, is_line
from millpond_cli.audit.published import Published, Said
from millpond_cli.audit.reading import Numbers, Told, as_bytes, batches, numbered, read
from millpond_cli.audit.workers import Workers
from millpond_rewards.rules.state import covers

# Lines that are in memory at a time, with their sources some six times as many records.
CHUNK_LINES: Final = 24_000
_WATERMARK: Final = Watermark.type_name.encode()
_ATTEMPT: Final = AttemptClosed.type_name.encode()

_SOURCES: Final = SchemaValidator(
    core_schema.typed_dict_schema(
        {
            "sources": core_schema.typed_dict_field(
                core_schema.list_schema(
                    core_schema.typed_dict_schema(
                        {
                            "topic": core_schema.typed_dict_field(core_schema.str_schema()),
                            "partition": core_schema.typed_dict_field(core_schema.int_schema()),
                            "offset": core_schema.typed_dict_field(core_schema.int_schema()),
                        }
                    )
                )
            )
        }
    )
).validate_json


class Marks:
    """Which records of a partition have their line: a bit each, so that those of all time fit in memory."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, offset: int) -> bool:
        """False if it was marked before."""
        index, bit = offset >> 3, 1 << (offset & 7)
        if index >= len(self._bits):
            self._bits.extend(bytes(index + 1 - len(self._bits) + 4_096))
        if self._bits[index] & bit:
            return False
        self._bits[index] |= bit
        return True

    def __contains__(self, offset: int) -> bool:
        index = offset >> 3
        return index < len(self._bits) and bool(self._bits[index] & (1 << (offset & 7)))


@dataclass
class Attempts:
    """Over all epochs. ``numbers``: of the inputs' writers, by place; ``read``: how far they were looked at."""

    counted: dict[int, Marks] = field(default_factory=lambda: {n: Marks() for n in range(JOB_PARTITIONS)})
    numbers: dict[Place, Numbers] = field(default_factory=dict)
    read: dict[Place, int] = field(default_factory=dict)


@dataclass(frozen=True)
class AttemptsPart:
    """A range of one partition; ``counted``: the attempts in it that have a line."""

    place: Place
    start: int
    stop: int
    numbers: Numbers
    counted: Marks


async def mark_earlier(log: Log, said: Said[EpochClosed], attempts: Attempts) -> None:
    """Of the epoch before the first that is audited: some of its lines are of attempts that only now must have one."""
    places = [Place(cut.topic, cut.partition) for cut in said.event.cut if cut.topic == METERING_USAGE.name]
    extents = await log.extents(places)
    for cut in said.event.cut:
        if cut.topic != METERING_USAGE.name:
            continue
        place = Place(cut.topic, cut.partition)
        start = max(cut.start, extents[place].beginning)
        async for batch in batches(log, place, start, cut.next_offset, lambda _: None):
            for record in filter(is_line, batch):
                kept = _kept(record)
                if kept is not None:
                    attempts.counted[kept.partition].add(kept.offset)


def audit_lines(
    workers: Workers, published: Published, epoch: int, attempts: Attempts, terms: Mapping[str, Terms]
) -> None:
    """Levels 2 and 3 of an epoch. Raises ``Difference``."""
    said = published.closed[epoch]
    closing = published.closings.get(epoch)
    if closing is None:
        raise difference(
            f"Epoch {epoch} was closed without EpochClosing: nobody can have said that nothing is left.",
            published="EpochClosed",
            found="EpochClosing, watermarks, EpochClosed",
            behind=[said.spot],
        )
    answered: set[tuple[int, int]] = set()
    cuts = [cut for cut in said.event.cut if cut.topic == METERING_USAGE.name]
    numbers = {cut.partition: _numbers_before(published, epoch, cut.partition) for cut in cuts}
    chunks = max(1, ceil(sum(cut.next_offset - cut.start for cut in cuts) / CHUNK_LINES))
    for chunk in range(chunks):
        by_partition: dict[int, list[Record]] = {}
        for cut in cuts:
            length = cut.next_offset - cut.start
            start, stop = cut.start + length * chunk // chunks, cut.start + length * (chunk + 1) // chunks
            part = _Slice(Place(cut.topic, cut.partition), start, stop, numbers[cut.partition])
            for record in workers.one(_read_slice, part):
                if record.header(CE_TYPE) == _WATERMARK:
                    watermark = read(METERING_USAGE, record).event
                    if isinstance(watermark, Watermark) and covers(closing.event, watermark):
                        answered.add((cut.partition, watermark.partition))
                elif is_line(record):
                    by_partition.setdefault(_mark(record, attempts), []).append(record)
        parts = [LinesPart(tuple(lines), terms) for _, lines in sorted(by_partition.items())]
        workers.each(check_lines, parts)
    _check_answered(closing.spot, said.spot, answered)
    _check_attempts(workers, closing.event.ends, attempts)


@dataclass(frozen=True)
class _Slice:
    place: Place
    start: int
    stop: int
    numbers: Numbers


async def _read_slice(log: Log, part: _Slice, _: Told) -> list[Record]:
    return [
        record
        async for batch in batches(log, part.place, part.start, part.stop, lambda _: None)
        for record in numbered(batch, part.numbers, ())
    ]


def _numbers_before(published: Published, epoch: int, partition: int) -> Numbers:
    if epoch == 0:
        return {}
    before = published.closed[epoch - 1].event.cut
    place = (METERING_USAGE.name, partition)
    return next((as_bytes(cut.numbers) for cut in before if (cut.topic, cut.partition) == place), {})


def sources_of(record: Record) -> list[Spot]:
    """What a line names, read quickly: whether it is a line at all is level 2's business."""
    try:
        return [Spot(**source) for source in _SOURCES(record.value or b"")["sources"]]
    except ValueError:
        return []


def _kept(record: Record) -> Spot | None:
    """The attempt that a line counts: the second of its sources."""
    sources = sources_of(record)
    return sources[1] if len(sources) > 1 and 0 <= sources[1].partition < JOB_PARTITIONS else None


def _mark(record: Record, attempts: Attempts) -> int:
    """The partition of the line's sources."""
    kept = _kept(record)
    if kept is None:
        raise difference(
            "A usage line names no attempt as its source.",
            published=record.value,
            found="JobAccepted, AttemptClosed, JobSucceeded, and a look at each output",
            behind=[spot_of(record)],
        )
    if kept.topic == SCHEDULER_ASSIGNMENTS.name and not attempts.counted[kept.partition].add(kept.offset):
        raise difference(
            "An attempt was counted twice.",
            published=record.value,
            found="one line for each attempt that was kept",
            behind=[spot_of(record), kept],
        )
    return kept.partition


def _check_answered(closing: Spot, closed: Spot, answered: set[tuple[int, int]]) -> None:
    for copy in range(METERING_USAGE.partitions):
        for partition in range(JOB_PARTITIONS):
            if (copy, partition) not in answered:
                raise difference(
                    f"Metering did not say before the cut, on {METERING_USAGE.name}[{copy}], that everything of "
                    f"partition {partition} was decided.",
                    published="EpochClosed",
                    found="a Watermark with the ends of EpochClosing first",
                    behind=[closing, closed],
                )


def _check_attempts(workers: Workers, ends: Mapping[str, tuple[int, ...]], attempts: Attempts) -> None:
    parts = []
    for topic in (SCHEDULER_ASSIGNMENTS, INSPECTOR_OBSERVATIONS):
        for partition, end in enumerate(ends.get(topic.name, ())):
            place = Place(topic.name, partition)
            start = attempts.read.get(place, 0)
            numbers = attempts.numbers.get(place, {})
            parts.append(AttemptsPart(place, start, max(start, end), numbers, attempts.counted[partition]))
    for part, numbers in zip(parts, workers.each(check_attempts, parts), strict=True):
        attempts.read[part.place], attempts.numbers[part.place] = part.stop, numbers


async def check_attempts(log: Log, part: AttemptsPart, told: Told) -> Numbers:
    """That each attempt kept in the range has its line, and that no record of it is missing. The numbers behind it."""
    numbers = dict(part.numbers)
    async for batch in batches(log, part.place, part.start, part.stop, told):
        known = _adopting(batch, numbers) if part.start and not part.numbers else batch
        for record in numbered(known, numbers, ()):
            if part.place.topic != SCHEDULER_ASSIGNMENTS.name or record.header(CE_TYPE) != _ATTEMPT:
                continue
            closed = read(SCHEDULER_ASSIGNMENTS, record).event
            if isinstance(closed, AttemptClosed) and closed.outcome == "kept" and record.offset not in part.counted:
                await _check_second(log, record, closed, part.counted)
    return numbers


def _adopting(records: list[Record], numbers: Numbers) -> Iterator[Record]:
    """Where the beginning was not read, the first record of each writer says what came before it."""
    for record in records:
        source, _, previous = (record.header(OUTBOX) or b"").split(b" ")
        numbers.setdefault(source, int(previous))
        yield record


async def _check_second(log: Log, record: Record, closed: AttemptClosed, counted: Marks) -> None:
    """Without a line of its own it must be of a job that has one: the first kept attempt counts."""
    extent = (await log.extents([record.place]))[record.place]
    async for batch in batches(log, record.place, extent.beginning, record.offset, lambda _: None):
        for earlier in batch:
            if earlier.offset in counted and earlier.key == record.key:
                return
    raise difference(
        f"Attempt {closed.attempt} of job {closed.job} was kept, and has no line: it was left out.",
        published=f"AttemptClosed, kept, of {closed.contributor}",
        found=f"a line on {METERING_USAGE.name} before the cut",
        behind=[spot(record.place, record.offset)],
    )
