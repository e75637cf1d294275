"""A gateway asks for work, or takes it back."""

from __future__ import annotations

from millpond.events.gateway_jobs import JobCancelled
from millpond.events.scheduler_assignments import AgreedPrice, JobAccepted, JobRefused
from millpond.stream.plan import STAMP_MS_MAX
from millpond_scheduler.rules.board import Board, Decided
from millpond_scheduler.rules.closing import give_up_job, lose
from millpond_scheduler.rules.facts import Asked, Offer, instant
from millpond_scheduler.rules.reasons import Closed, GivenUp, Refused

# Jobs without a GPU, at most. A pool that clears 500 a second has as many in 20 s; whoever asks then is better off
# with an answer at once than with a place in a queue that outlasts his deadline.
WAITING_JOBS_MAX = 10_000


def on_requested(board: Board, asked: Asked, as_of_ms: int, *, all_read: bool = False) -> list[Decided]:
    """Takes the job or refuses it, for good. What it needs and is not known is waited for until ``all_read``."""
    request = asked.request
    if request.job in board.jobs:
        return []
    offer = board.offer_in_force()
    lacks_something = offer is None or request.gateway not in board.gateways
    if lacks_something and not all_read and board.waiting_count < WAITING_JOBS_MAX:
        board.put_asked(asked)
        return []
    refusal = _refusal(board, asked, offer)
    if refusal is not None:
        return [_refuse(board, asked, refusal, as_of_ms)]
    assert offer is not None
    price = offer.terms.price(request.workload)
    assert price is not None
    accepted = JobAccepted(
        job=request.job,
        gateway=request.gateway,
        request_id=request.request_id,
        workload=request.workload,
        spec=request.spec,
        price=AgreedPrice(unit=price.unit, wei=price.wei, per_units=price.per_units),
        terms_hash=offer.hash,
        deadline_at=instant(_deadline_ms(asked)),
        as_of=instant(as_of_ms),
    )
    board.take(accepted, asked.partition)
    return [accepted]


def on_cancelled(board: Board, event: JobCancelled, as_of_ms: int) -> list[Decided]:
    """Ends the job, if it is that gateway's and has not ended."""
    asked = board.asked.get(event.job)
    if asked is not None and asked.request.gateway == event.gateway:
        return [_refuse(board, asked, Refused.CANCELLED, as_of_ms)]
    job = board.jobs.get(event.job)
    if job is None or job.gateway != event.gateway:
        return []
    attempt = board.attempts.get(job.id)
    if attempt is None:
        return [give_up_job(board, job, GivenUp.CANCELLED, as_of_ms)]
    cancelled = Closed.CANCELLED
    return lose(board, job, attempt, cancelled.reason, cancelled.sentence, as_of_ms, give_up=GivenUp.CANCELLED)


def _refusal(board: Board, asked: Asked, offer: Offer | None) -> Refused | None:
    """The first that applies, in the order in which they are listed."""
    request = asked.request
    if offer is None:
        return Refused.NO_TERMS
    if request.gateway not in board.gateways:
        return Refused.GATEWAY_UNKNOWN
    if not board.gateways[request.gateway]:
        return Refused.GATEWAY_SUSPENDED
    if request.workload not in {each.workload for each in offer.terms.workloads}:
        return Refused.WORKLOAD_NOT_OFFERED
    if request.deadline_s > offer.terms.work.deadline_s_max:
        return Refused.DEADLINE_TOO_LONG
    if _deadline_ms(asked) <= board.counts.ticked_ms:
        return Refused.DEADLINE_PASSED
    if board.waiting_count - (request.job in board.asked) >= WAITING_JOBS_MAX:
        return Refused.QUEUE_FULL
    return None


def _deadline_ms(asked: Asked) -> int:
    """Counted from edge's stamp. No calendar goes further than the last stamp there is."""
    return min(asked.stamp_ms + asked.request.deadline_s * 1_000, STAMP_MS_MAX)


def _refuse(board: Board, asked: Asked, why: Refused, as_of_ms: int) -> JobRefused:
    request = asked.request
    offer = board.offer_in_force()
    allowed = 0 if offer is None else offer.terms.work.deadline_s_max
    sentence = why.sentence.format(asked=request.deadline_s, allowed=allowed, waiting=board.waiting_count)
    refused = JobRefused(
        job=request.job,
        gateway=request.gateway,
        request_id=request.request_id,
        reason=why.reason,
        sentence=sentence,
        as_of=instant(as_of_ms),
    )
    board.take(refused, asked.partition)
    return refused
