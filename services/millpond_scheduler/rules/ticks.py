"""What the passing of time decides: leases and deadlines. By then all that stood on the inputs has been read."""

from __future__ import annotations

from typing import Final

from millpond.events.topics import AGENT_PROGRESS, AGENT_RESULTS, POOL_TERMS, REGISTRY_GATEWAYS, REWARDS_EPOCHS
from millpond.stream.decision import Tick
from millpond.stream.record import Place
from millpond_scheduler.rules.assigning import give_up_waiting
from millpond_scheduler.rules.board import Board, Decided
from millpond_scheduler.rules.closing import lose
from millpond_scheduler.rules.facts import Asked, Job
from millpond_scheduler.rules.jobs import on_requested
from millpond_scheduler.rules.reasons import Closed, GivenUp

# When something is due, but can't be decided yet, it is looked at again after so long.
LOOK_AGAIN_MS: Final = 500
# What must have been read before a gateway is called unknown, or the terms missing.
_NEEDED_BY_REQUESTS = frozenset(Place(topic.name, 0) for topic in (REGISTRY_GATEWAYS, POOL_TERMS, REWARDS_EPOCHS))


def on_tick(board: Board, tick: Tick) -> list[Decided]:
    board.counts.ticked_ms = tick.as_of_ms
    board.changes.counts = True
    board.wakes_at_ms = None
    for gpu in board.resting.take_due(tick.as_of_ms):
        board.wake(gpu)
    decided: list[Decided] = []
    for id_ in board.due.take_due(tick.as_of_ms):
        if id_ in board.asked:
            decided += _request(board, board.asked[id_], tick)
        else:
            decided += _job(board, board.jobs[id_], tick)
    return decided


def _request(board: Board, asked: Asked, tick: Tick) -> list[Decided]:
    if tick.unread & _NEEDED_BY_REQUESTS:
        board.due.put(asked.request.job, tick.as_of_ms + LOOK_AGAIN_MS)
        return []
    return on_requested(board, asked, tick.as_of_ms, all_read=True)


def _job(board: Board, job: Job, tick: Tick) -> list[Decided]:
    attempt = board.attempts.get(job.id)
    if attempt is None:
        return [give_up_waiting(board, job, tick.as_of_ms)]
    is_late = tick.as_of_ms >= job.deadline_ms + board.grace_ms(job)
    may_lie_unread = {Place(topic.name, job.partition) for topic in (AGENT_RESULTS, AGENT_PROGRESS)} & tick.unread
    # More than half of the pool silent at once: rather our door is shut than all of them dead. Nothing moves.
    is_excused = board.counts.paused_ms is not None and not is_late and not attempt.gone
    if may_lie_unread or is_excused:
        board.due.put(job.id, tick.as_of_ms + LOOK_AGAIN_MS)
        return []
    if is_late:
        late = Closed.DEADLINE_PASSED
        return lose(board, job, attempt, late.reason, late.sentence, tick.as_of_ms, give_up=GivenUp.DEADLINE_PASSED)
    why = Closed.GPU_GONE if attempt.gone else Closed.LEASE_ENDED
    return lose(board, job, attempt, why.reason, why.sentence, tick.as_of_ms)
