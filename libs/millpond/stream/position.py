"""How far a partition has been read, and what to do when the log doesn't go on from there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from millpond.stream.record import OutboxNumber

StopReason = Literal["retention", "lost_tail", "made_again", "gap", "poison", "database_went_back", "breaker"]

STOP_SENTENCES: Mapping[StopReason, str] = {
    "retention": "Records that were never read have been deleted: the log now begins after our position. "
    "Restore the topic from an export (millpond topics restore), then start again.",
    "lost_tail": "The log lost its tail: it ends before our position. "
    "Run millpond topics resend for the service that owns the topic, or restore it from an export.",
    "made_again": "The record before our position is not the one that was applied: the topic was deleted and made again. "
    "Restore it from an export (millpond topics restore), then start again.",
    "gap": "A record of the source is missing before this one. "
    "Restore the topic from an export, or skip this record by a signed command and readmit it.",
    "poison": "The record can't be read. Fix the reader, or skip it by a signed command (millpond deadletters skip).",
    "database_went_back": "The database knows less than this process already did: it was restored from a backup. "
    "Run millpond rebuild for the service.",
    "breaker": "Most of the last records were set aside: rather our reader is wrong than all of their writers. "
    "Look at them (millpond deadletters list), mend the reader, then start again.",
}


@dataclass(frozen=True, slots=True)
class Position:
    """The first offset not yet applied, and proof of the last one that was.

    ``last_hash`` is empty before the first record. ``numbers`` holds, per source, the outbox number seen last.
    """

    next_offset: int = 0
    last_hash: bytes = b""
    numbers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Extent:
    """What a log still holds: offsets ``beginning`` (included) to ``end`` (excluded)."""

    beginning: int
    end: int


Mismatch = Literal["seek", "step_over"] | StopReason


def judge_start(position: Position, batch_start: int, extent: Extent, *, expires: bool, again: bool) -> Mismatch:
    """Says what to do with a batch that starts at ``batch_start`` and not at our position.

    ``expires``: the topic forgets on purpose, so a *first* start takes its beginning.
    ``again``: this is what a second fetch from our position showed too, so what lies between holds no data
    (control records of a transactional producer; STREAM 3).
    """
    if position.next_offset > extent.end:
        return "lost_tail"
    if position.next_offset < extent.beginning:
        first = position.next_offset == 0 and not position.last_hash
        return "step_over" if expires and first else "retention"
    if batch_start > position.next_offset and again:
        return "step_over"
    return "seek"


NumberVerdict = Literal["apply", "repeat", "gap"]


def judge_number(numbers: Mapping[str, int], outbox: OutboxNumber) -> NumberVerdict:
    """Applies a source's records in its order: a number seen before is a relay's repeat, a skipped one is a gap (STREAM 4)."""
    last = numbers.get(outbox.source, 0)
    if outbox.number <= last:
        return "repeat"
    return "apply" if outbox.previous == last else "gap"
