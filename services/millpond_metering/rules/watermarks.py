"""That an epoch's inputs are all decided: said per input partition, to every partition of the usage lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Final

from millpond.events.metering_usage import Watermark
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    JOB_PARTITIONS,
    METERING_USAGE,
    SCHEDULER_ASSIGNMENTS,
)
from millpond.stream.decision import Outgoing

# What is joined by job: an epoch that closes names where each of their partitions ends.
JOINED: Final = (AGENT_RESULTS.name, SCHEDULER_ASSIGNMENTS.name, INSPECTOR_OBSERVATIONS.name)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one input partition is, in the database as the transaction found it.

    ``read``: by topic, the first offset that is not decided. ``undecided_from``: where the first attempt stands that was
    kept and has no line yet, on ``scheduler.assignments.v1``; None if there is none.
    """

    read: Mapping[str, int]
    undecided_from: int | None = None

    def has_decided(self, ends: Mapping[str, int]) -> bool:
        """Whether all below ``ends`` has been read, and each attempt that was kept there has its line (held counts)."""
        if any(self.read.get(topic, 0) < end for topic, end in ends.items()):
            return False
        return self.undecided_from is None or self.undecided_from >= ends.get(SCHEDULER_ASSIGNMENTS.name, 0)


@dataclass(frozen=True, slots=True)
class Epoch:
    """``written``: (input partition, partition of the usage lines) of each watermark that is on the log.

    ``closing`` is None as long as only the watermarks are known, of a database that is being made anew.
    """

    closing: EpochClosing | None = None
    written: frozenset[tuple[int, int]] = frozenset()
    progress: Mapping[int, Progress] = field(default_factory=dict)

    @property
    def is_done(self) -> bool:
        return len(self.written) == JOB_PARTITIONS * METERING_USAGE.partitions


def due(epoch: Epoch) -> frozenset[tuple[int, int]]:
    """Which watermarks can be said now and haven't been: (input partition, partition of the usage lines).

    They stand behind the lines that they cover, since those are committed before.
    """
    if epoch.closing is None:
        return frozenset()
    decided = {
        partition
        for partition in range(JOB_PARTITIONS)
        if epoch.progress.get(partition, Progress({})).has_decided(ends_of(epoch.closing, partition))
    }
    return frozenset(product(decided, range(METERING_USAGE.partitions))) - epoch.written


def watermark(closing: EpochClosing, partition: int, copy: int) -> Outgoing:
    """Its time is the closing's, not the look's: an epoch has the same watermarks whenever they can be said."""
    time_ms = int(closing.as_of.timestamp() * 1000)
    event = Watermark(epoch=closing.epoch, partition=partition, ends=ends_of(closing, partition))
    return Outgoing(METERING_USAGE, str(partition), event, time_ms, partition=copy)


def ends_of(closing: EpochClosing, partition: int) -> dict[str, int]:
    """Where the joined topics end in this partition; one that is not named, or shorter, ends at its beginning."""
    return {
        topic: closing.ends[topic][partition]
        for topic in JOINED
        if topic in closing.ends and partition < len(closing.ends[topic])
    }
