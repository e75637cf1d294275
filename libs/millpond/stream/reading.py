"""What a process knows of one place that it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from millpond.stream.database import DeadLetter
from millpond.stream.plan import Plan, Stop
from millpond.stream.position import Position

# The breaker: where more than this share of so many records in a row was set aside, the partition stops.
BREAKER_RECORDS: Final = 1_000
BREAKER_SHARE_MAX: Final = 0.5


@dataclass
class Reading:
    """What is known of one place in this process; lost without harm at any time."""

    position: Position
    known: dict[int, DeadLetter] = field(default_factory=dict)
    # The record before our position has been seen again and is the one that was applied.
    verified: bool = False
    # A batch began here, beyond our position; a second fetch that shows the same proves that nothing lies between.
    began_late_at: int | None = None
    stop: Stop | None = None
    failures: int = 0
    retry_at_s: float = 0.0
    moved_at_s: float = 0.0
    paused: bool = False
    # Of the breaker's window: records applied or set aside, and those of them that were set aside.
    seen: int = 0
    set_aside: int = 0

    def broken_by(self, plan: Plan) -> Stop | None:
        """The breaker: a place of whose records most are set aside stops instead. ``plan``: what was applied just now."""
        self.seen += len(plan.records)
        self.set_aside += len(plan.asides)
        if self.seen < BREAKER_RECORDS:
            return None
        seen, set_aside, self.seen, self.set_aside = self.seen, self.set_aside, 0, 0
        if set_aside <= seen * BREAKER_SHARE_MAX:
            return None
        return Stop("breaker", f"{set_aside} of the last {seen} records were set aside.")
