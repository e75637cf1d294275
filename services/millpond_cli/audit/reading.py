"""What counts of a partition, as whoever decided on it read it: no repeats, no fillers, nothing that was passed over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, ReAdmitted, Skipped
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Topic, Written
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import ReadmitRecord, SkipRecord
from millpond.stream.decision import Received
from millpond.stream.log import Log, LogEndsBefore
from millpond.stream.plan import decode
from millpond.stream.record import FILLER, ITEM, OUTBOX, Place, Record, content_hash
from millpond_cli.audit.difference import Difference, difference, spot, spot_of

BATCH_RECORDS: Final = 4_000

# How many records have been read since the last call.
Told = Callable[[int], None]
# By source, the outbox number that was seen last.
Numbers = dict[bytes, int]
Offsets = Collection[int]

_ABOUT_LETTERS: Final = (SkipRecord.__name__, ReadmitRecord.__name__)


async def batches(log: Log, place: Place, start: int, stop: int, told: Told) -> AsyncIterator[list[Record]]:
    """The records of a range. A log that ends before it is a difference: its tail is gone."""
    batch: list[Record] = []
    try:
        async for record in log.read(place, start, stop):
            batch.append(record)
            if len(batch) == BATCH_RECORDS:
                told(len(batch))
                yield batch
                batch = []
    except LogEndsBefore as cause:
        raise difference(
            f"The end of {place} is gone.",
            published=f"records up to offset {stop}",
            found=str(cause),
            behind=[spot(place, stop - 1)],
        ) from cause
    if batch:
        told(len(batch))
        yield batch


async def everything(log: Log, topic: Topic) -> list[Record]:
    """All records of a topic that count, partition by partition."""
    places = [Place(topic.name, partition) for partition in range(topic.partitions)]
    extents = await log.extents(places)
    found: list[Record] = []
    for place in places:
        numbers: Numbers = {}
        async for batch in batches(log, place, extents[place].beginning, extents[place].end, lambda _: None):
            found += batch if topic.written is not Written.BY_PROCESS else numbered(batch, numbers, ())
    return found


def numbered(records: Iterable[Record], numbers: Numbers, passed: Offsets) -> Iterator[Record]:
    """Of a topic that a service writes: each number once, in order, without holes (STREAM 4). Updates ``numbers``."""
    for record in records:
        outbox, is_filler = None, False
        for name, value in record[5]:
            if name == OUTBOX:
                outbox = value
            elif name == FILLER:
                is_filler = True
        if is_filler:
            continue
        try:
            source, number_text, previous_text = (outbox or b"").split(b" ")
            number, previous = int(number_text), int(previous_text)
        except ValueError:
            if record.offset in passed:
                continue
            raise _unnumbered(record, outbox) from None
        last = numbers.get(source, 0)
        if record[2] in passed:
            numbers[source] = max(number, last)
            continue
        if number <= last:
            continue
        if previous != last:
            raise _hole(record, source, number, previous, last)
        numbers[source] = number
        yield record


def observed(records: Iterable[Record], items: dict[tuple[str, bytes], bytes], passed: Offsets) -> Iterator[Record]:
    """Of a topic that a source writes: each item once; the first in its partition counts. Updates ``items``."""
    for record in records:
        item = record.header(ITEM)
        if record.is_filler or record.offset in passed or item is None:
            continue
        key = (record.topic, item)
        if key not in items:
            items[key] = content_hash(record.key, record.value)
            yield record


def is_about_letters(record: Record) -> bool:
    """A command about a dead letter is the stream library's business: no rule gets to see it."""
    if record.topic != OPERATOR_COMMANDS.name:
        return False
    event = read(OPERATOR_COMMANDS, record).event
    return isinstance(event, OperatorCommanded) and event.action in _ABOUT_LETTERS


def read(topic: Topic, record: Record) -> Received:
    """The event of a record; one that is none was never decided on."""
    found = decode(topic, record)
    if isinstance(found, Received):
        return found
    raise difference(
        f"A record of {topic.name} can't be read: {found.sentence}",
        published=record.value,
        found="nothing that a service could have decided on",
        behind=[spot_of(record)],
    )


async def passed_over(log: Log, letters: Topic) -> dict[Place, set[int]]:
    """What the service set aside or was told to skip: exactly what its dead letters name (STREAM 16)."""
    passed: dict[Place, set[int]] = {}
    for record in await everything(log, letters):
        event = read(letters, record).event
        if isinstance(event, DeadLettered | Skipped):
            passed.setdefault(Place(event.topic, event.partition), set()).add(event.offset)
    return passed


def readmission(letters: Topic, record: Record) -> ReAdmitted | None:
    event = read(letters, record).event
    assert isinstance(event, DeadLetterEvent)
    return event if isinstance(event, ReAdmitted) else None


def as_text(numbers: Mapping[bytes, int]) -> dict[str, int]:
    return {source.decode(errors="replace"): number for source, number in sorted(numbers.items())}


def as_bytes(numbers: Mapping[str, int]) -> Numbers:
    return {source.encode(): number for source, number in numbers.items()}


def _hole(record: Record, source: bytes, number: int, previous: int, last: int) -> Difference:
    name = source.decode(errors="replace")
    what = f"{record.place} does not go on at offset {record.offset}: what stood before it is missing, or out of order."
    published = f"{name} {number}, which follows {previous}"
    return difference(what, published=published, found=f"{name} {last} before it", behind=[spot_of(record)])


def _unnumbered(record: Record, outbox: bytes | None) -> Difference:
    what = f"A record of {record.place} has no number of its writer, so nobody decided on it."
    return difference(what, published=outbox, found="source number previous", behind=[spot_of(record)])
