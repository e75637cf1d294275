"""Level 1, what was counted: the records of a cut, their hash, and what they come to. One partition at a time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.rewards_epochs import PartitionCut
from millpond.events.topics import METERING_USAGE, TOPICS, deadletters
from millpond.stream.command_desk import original_record
from millpond.stream.log import Log
from millpond.stream.record import Place, Record
from millpond_cli.audit.difference import Difference, difference, spot
from millpond_cli.audit.reading import (
    Told,
    as_bytes,
    batches,
    is_about_letters,
    numbered,
    observed,
    read,
    readmission,
)
from millpond_rewards.rules import LineFold, PlaceTally, cut_of, fold_records, key_of

LETTERS = deadletters("rewards")


@dataclass(frozen=True)
class CutPart:
    """What is to be read of one partition: ``before`` as the last cut left it; ``cut`` as it was published."""

    cut: PartitionCut
    before: PlaceTally
    passed: frozenset[int]

    @property
    def place(self) -> Place:
        return Place(self.cut.topic, self.cut.partition)


@dataclass(frozen=True)
class Scan:
    """What the records of a partition came to."""

    tally: PlaceTally
    fold: LineFold


async def scan(log: Log, part: CutPart, told: Told) -> Scan:
    """Of a topic that a service writes. Raises ``Difference``, also where count or hash are not those of the cut."""
    tally, fold, numbers = part.before, LineFold(), as_bytes(part.before.numbers)
    async for batch in batches(log, part.place, part.cut.start, part.cut.next_offset, told):
        tally = fold_records(tally, fold, numbered(batch, numbers, part.passed))
    check_cut(part, tally)
    return Scan(tally, fold)


async def scan_observed(
    log: Log, part: CutPart, items: dict[tuple[str, bytes], bytes], told: Told
) -> tuple[Scan, list[Record]]:
    """Of a topic that a source writes, and what it was: ``items`` are those of all epochs before."""
    tally, counted = part.before, list[Record]()
    async for batch in batches(log, part.place, part.cut.start, part.cut.next_offset, told):
        due = [record for record in observed(batch, items, part.passed) if not is_about_letters(record)]
        tally = fold_records(tally, LineFold(), due)
        counted += due
    check_cut(part, tally)
    return Scan(tally, LineFold()), counted


async def scan_readmitted(log: Log, part: CutPart, told: Told) -> Scan:
    """Of our own dead letters: what was decided here, hashed as it stood at its first place."""
    tally, fold = part.before, LineFold()
    async for batch in batches(log, part.place, part.cut.start, part.cut.next_offset, told):
        for record in batch:
            event = readmission(LETTERS, record)
            if event is None:
                continue
            original = original_record(event)
            tally = tally.with_record(original, record.offset)
            line = read(TOPICS[original.topic], original).event
            if isinstance(line, UsageRecorded | UsageHeld):
                fold.add(key_of(line), line.quantity, original.value or b"")
    check_cut(part, tally)
    return Scan(tally, fold)


def check_cut(part: CutPart, tally: PlaceTally) -> None:
    """Raises ``Difference``."""
    (found,) = cut_of({part.place: tally})
    if found == part.cut:
        return
    published = part.cut
    for name in ("start", "next_offset", "records", "numbers", "records_hash"):
        if getattr(published, name) != getattr(found, name):
            raise CutDiffers(
                what=f"{part.place} is not what rewards had read: {name} of its cut differs, so a record from offset "
                f"{published.start} to {published.next_offset - 1} was changed, is missing, or was added.",
                published=getattr(published, name),
                found=getattr(found, name),
                behind=f"{spot(part.place, published.start)} to {spot(part.place, published.next_offset - 1)}",
            )


class CutDiffers(Difference):
    """{what}
    published  {published}
    comes out  {found}
    behind it  {behind}"""


def not_continued(part: PartitionCut, before: PlaceTally, behind: Iterable[object]) -> Difference:
    return difference(
        f"The cut of {part.topic}[{part.partition}] does not go on where the last one ended.",
        published=f"start {part.start}",
        found=f"start {before.next_offset}",
        behind=list(behind),  # type: ignore[arg-type]  # spots
    )


def is_lines(place: Place) -> bool:
    return place.topic == METERING_USAGE.name
