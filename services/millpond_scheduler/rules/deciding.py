"""From an input to what is published: the four entrances that the stream library uses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, cast

from millpond.events.agent_claims import JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.gateway_jobs import JobCancelled, JobRequested
from millpond.events.registry_members import DeviceRemoved
from millpond.events.scheduler_assignments import JobAccepted, JobAssigned, JobRefused
from millpond.events.scheduler_reads import ReadUpTo
from millpond.events.topic import Topic
from millpond.events.topics import (
    AGENT_PROGRESS,
    AGENT_RESULTS,
    GATEWAY_JOBS,
    POOL_TERMS,
    REGISTRY_GATEWAYS,
    REGISTRY_GPUS,
    REGISTRY_MEMBERS,
    REWARDS_EPOCHS,
    SCHEDULER_ASSIGNMENTS,
    SCHEDULER_READS,
)
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond_scheduler.rules.assigning import assign_waiting
from millpond_scheduler.rules.board import Board, Decided
from millpond_scheduler.rules.claims import on_claim, recall_claim
from millpond_scheduler.rules.closing import lose
from millpond_scheduler.rules.facts import Asked, instant, milliseconds
from millpond_scheduler.rules.jobs import on_cancelled, on_requested
from millpond_scheduler.rules.members import begun_before, take_up
from millpond_scheduler.rules.reasons import Closed
from millpond_scheduler.rules.ticks import on_tick

# What is known of the pool stands before what is asked of it.
READS: Final[tuple[Topic, ...]] = (
    POOL_TERMS,
    REGISTRY_MEMBERS,
    REGISTRY_GATEWAYS,
    REGISTRY_GPUS,
    REWARDS_EPOCHS,
    GATEWAY_JOBS,
    AGENT_PROGRESS,
    AGENT_RESULTS,
)
KEY: Final = "scheduler"
# One timer for all: it goes off when the earliest thing on the agenda is due.
TIMER: Final = "agenda"
# Requests are undecided for moments; a rebuild remembers so many decisions to tell them from the others.
DECIDED_LATELY_MAX: Final = 200_000


def decide(board: Board, received: Input, *, pool: str) -> Decision[Board]:
    """``pool``: of the signatures that count."""
    if isinstance(received, Tick):
        board.now_ms = max(board.now_ms, received.as_of_ms)
        return _decision(board, on_tick(board, received), received.as_of_ms)
    _note(board, received)
    as_of_ms = max(board.counts.ticked_ms, received.stamp_ms)
    board.now_ms = max(board.now_ms, as_of_ms)
    return _decision(board, _decide(board, received, pool, as_of_ms), as_of_ms)


def conclude(board: Board) -> Decision[Board]:
    """Hands out what can be handed out, and says once how far this transaction had read, if it decided anything."""
    as_of_ms = board.now_ms
    decision = _decision(board, assign_waiting(board, as_of_ms), as_of_ms)
    events = decision.events
    if board.has_spoken:
        read = ReadUpTo(
            as_of=instant(as_of_ms), positions={topic: tuple(offsets) for topic, offsets in board.read.items()}
        )
        events = (*events, Outgoing(SCHEDULER_READS, KEY, read, as_of_ms))
    board.now_ms, board.has_spoken = board.counts.ticked_ms, False
    return Decision(board, events, _timers(board))


def fold(board: Board, received: Received) -> Decision[Board]:
    """Takes up what the scheduler itself has published."""
    if received.topic != SCHEDULER_ASSIGNMENTS.name:
        return Decision(board)
    event = cast(Decided, received.event)
    board.take(event, received.place.partition)
    if isinstance(event, JobAccepted | JobRefused):
        _remember(board, event.job, milliseconds(event.as_of))
    # Where something is open, a tick is to look at it; at what, the agenda knows then.
    is_open = isinstance(event, JobAccepted | JobAssigned)
    return Decision(board, timers=(Timer(TIMER, milliseconds(event.as_of)),) if is_open else ())


def recall(board: Board, received: Received) -> Decision[Board]:
    """Takes up what was read, and led to no event: who is in, what is offered, signs of life."""
    match received.event:
        case JobStarted() | JobProgress() as event:
            recall_claim(board, event, received.stamp_ms)
        case JobRequested() as request if _is_undecided(board, request.job, received.stamp_ms):
            board.put_asked(Asked(request, received.place.partition, received.stamp_ms))
        case event:
            take_up(board, event)
    return Decision(board, timers=(Timer(TIMER, received.stamp_ms),) if board.asked else ())


def _remember(board: Board, job: str, as_of_ms: int) -> None:
    board.decided_lately[job] = as_of_ms
    if len(board.decided_lately) > DECIDED_LATELY_MAX:
        del board.decided_lately[next(iter(board.decided_lately))]


def _is_undecided(board: Board, job: str, stamp_ms: int) -> bool:
    """Whether a covered request waited for its gateway, or for terms, when the database was lost."""
    if job in board.decided_lately or job in board.jobs:
        return False
    # Of what is older than all that is remembered, all but what waited behind a stopped partition was decided.
    is_forgetful = len(board.decided_lately) == DECIDED_LATELY_MAX
    return not is_forgetful or stamp_ms > next(iter(board.decided_lately.values()))


def _decide(board: Board, received: Received, pool: str, as_of_ms: int) -> list[Decided]:
    match received.event:
        case JobRequested() as request:
            return on_requested(board, Asked(request, received.place.partition, received.stamp_ms), as_of_ms)
        case JobCancelled() as cancelled:
            return on_cancelled(board, cancelled, as_of_ms)
        case JobStarted() | JobProgress() | JobSucceeded() | JobFailed() as claim:
            return on_claim(board, claim, pool, received.stamp_ms, as_of_ms)
        case DeviceRemoved() as removed:
            take_up(board, removed)
            return _drop_work_of(board, removed.device, received.stamp_ms, as_of_ms)
        case event:
            take_up(board, event)
            return []


def _drop_work_of(board: Board, device: str, removed_ms: int, as_of_ms: int) -> list[Decided]:
    """At once: its key may be in strange hands, so that nothing that it says from now on counts."""
    if device in board.devices:
        return []
    why, decided = Closed.DEVICE_REMOVED, list[Decided]()
    for gpu in sorted(board.gpus_of.get(device, ())):
        for attempt in begun_before(board, gpu, removed_ms):
            decided += lose(board, board.jobs[attempt.job], attempt, why.reason, why.sentence, as_of_ms)
    return decided


def _note(board: Board, received: Received) -> None:
    topic, partition = received.place
    # What was readmitted stands on the dead-letter topic.
    if topic in board.read:
        board.read[topic][partition] = received.offset + 1


def _decision(board: Board, decided: Iterable[Decided], as_of_ms: int) -> Decision[Board]:
    events = tuple(Outgoing(SCHEDULER_ASSIGNMENTS, event.job, event, as_of_ms) for event in decided)
    board.has_spoken |= bool(events)
    return Decision(board, events)


def _timers(board: Board) -> tuple[Timer, ...]:
    """Only ever earlier than before: a tick that finds nothing sets the next, and costs less than each change would."""
    times = [each for each in (board.due.earliest_ms(), board.resting.earliest_ms()) if each is not None]
    if not times or (board.wakes_at_ms is not None and board.wakes_at_ms <= min(times)):
        return ()
    board.wakes_at_ms = min(times)
    return (Timer(TIMER, board.wakes_at_ms),)
