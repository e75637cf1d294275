"""What the agent does about what it hears, given what it is doing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from millpond.events.scheduler_assignments import JobAssigned

RECONNECT_FIRST_S: Final = 0.2
RECONNECT_MAX_S: Final = 10.0
# A connection that lived as long as this begins a new row of failures.
SETTLED_S: Final = 5.0
# Those of a pool that is there, if not for long, count as so many at most: a wait of less than two seconds.
BROKEN_OFF_MAX: Final = 3
# What edge may say of a claim that it will take later: it stays in the outbox. Everything else is final.
LATER: Final = frozenset({"not-acknowledged", "starting", "stopping", "away", "internal", "rate-exceeded"})
# Why edge lets a device in no more: only somebody's signature changes that.
ENDS: Final = frozenset({"device-refused", "device-removed", "delegation-expired", "contributor-left"})


@dataclass(frozen=True)
class Running:
    """An attempt that holds a slot of the GPU ``hardware_id``."""

    job: str
    attempt: int
    hardware_id: str


@dataclass(frozen=True)
class State:
    """``slots`` by hardware id; ``running`` by lease. ``leaving``: finishes what runs, takes nothing."""

    device: str
    slots: Mapping[str, int]
    running: Mapping[str, Running]
    leaving: bool = False

    def running_on(self, hardware_id: str) -> int:
        """Slots in use."""
        return sum(each.hardware_id == hardware_id for each in self.running.values())


@dataclass(frozen=True)
class Take:
    """Begin."""


@dataclass(frozen=True)
class Pass:
    """Nothing to do or to say."""


@dataclass(frozen=True)
class Decline:
    """Tell the pool at once, so that another GPU gets it."""

    reason: str
    sentence: str


def on_assignment(state: State, assigned: JobAssigned, *, ended: bool, now: datetime) -> Take | Pass | Decline:
    """``ended``: this lease's attempt was finished, failed or cancelled before. ``now`` is on edge's clock.

    What the agent doesn't remember it begins, also after its own restart: the lease may still hold, and if it doesn't,
    the result is not kept. If several reasons apply, the first is given.
    """
    if assigned.device != state.device or assigned.lease in state.running or ended:
        return Pass()
    if now >= assigned.deadline_at:
        return Decline("deadline-passed", "The job's deadline had passed before the machine could begin.")
    if state.leaving:
        return Decline("leaving", "The machine is being switched off and takes no new jobs.")
    slots = state.slots.get(assigned.hardware_id)
    if slots is None:
        return Decline("gpu-away", f"The GPU {assigned.hardware_id} is not there, or its runner does not answer.")
    if state.running_on(assigned.hardware_id) >= slots:
        return Decline("no-slot", f"All {slots} slots of the GPU {assigned.hardware_id} are in use.")
    return Take()


def on_cancel(state: State, *, job: str, attempt: int) -> str | None:
    """The lease of the attempt to be stopped, if it runs."""
    leases = (lease for lease, each in state.running.items() if (each.job, each.attempt) == (job, attempt))
    return next(leases, None)


def is_final(reason: str) -> bool:
    """Whether a claim that was refused for ``reason`` would be refused for ever."""
    return reason not in LATER


def knocks_again(reason: str, *, was_welcome: bool) -> bool:
    """Whether to try again after edge has refused the connection for ``reason``: while it starts, or the operator thinks.

    A pool that has let the device in before and now doesn't know it, is one that is still reading its own topics.
    """
    return reason not in ENDS and (reason != "device-unknown" or was_welcome)


def reconnect_s(failures: int, *, chance: float) -> float:
    """Seconds before the next try after ``failures`` in a row; ``chance`` in [0, 1) spreads agents that lost the same edge."""
    longest_s = min(RECONNECT_FIRST_S * 2.0 ** min(failures, 20), RECONNECT_MAX_S)
    return longest_s * (0.5 + chance / 2)


def failures_in_a_row(failures: int, *, welcome_s: float | None, is_soon: bool = False) -> int:
    """How many there are after one more try. ``welcome_s``: for how long the pool had let us in; None if it didn't.
    ``is_soon``: it answered that it will be able to before long.

    A pool that answers, and is away again soon, is being restarted: whoever then waits as for one that is gone is never
    there while it is.
    """
    if welcome_s is not None and welcome_s > SETTLED_S:
        return 0
    is_there = is_soon or welcome_s is not None
    return min(failures + 1, BROKEN_OFF_MAX) if is_there else failures + 1


def inventory_is_due(*, told_at: datetime | None, changed: bool, now: datetime) -> bool:
    """With the first beat, when it has changed, and hourly. ``told_at``: when the pool last acknowledged it."""
    return told_at is None or changed or now - told_at >= timedelta(hours=1)
