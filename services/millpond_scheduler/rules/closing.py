"""How attempts and jobs end. Each of these decisions is taken up on the board as it is made."""

from __future__ import annotations

from typing import Literal

from millpond.events.scheduler_assignments import AttemptClosed, JobGivenUp
from millpond_scheduler.rules.board import Board, Decided
from millpond_scheduler.rules.facts import Attempt, Job, instant
from millpond_scheduler.rules.reasons import INPUT_AT_FAULT, Closed, GivenUp

# A device that blames the input may itself be at fault: the job ends only when another attempt says so, too.
INPUT_FAULTS_TO_BELIEVE = 2
SENTENCE_CHARACTERS_MAX = 2_000


def lose(
    board: Board,
    job: Job,
    attempt: Attempt,
    reason: str,
    sentence: str,
    as_of_ms: int,
    *,
    give_up: GivenUp | None = None,
) -> list[Decided]:
    """Closes the open attempt as lost. The job waits for another GPU, unless there is no use, or ``give_up`` says why not."""
    closed = _closed(attempt, "lost", reason, sentence, as_of_ms)
    board.take(closed, job.partition)
    job = board.jobs[job.id]
    if give_up is not None:
        return [closed, give_up_job(board, job, give_up, as_of_ms)]
    if sum(each.reason in INPUT_AT_FAULT for each in job.tried) >= INPUT_FAULTS_TO_BELIEVE:
        return [closed, _given_up(board, job, reason, sentence, as_of_ms)]
    if len(job.tried) >= board.offers[job.terms_hash].terms.work.attempts_max:
        return [closed, give_up_job(board, job, GivenUp.TRIED_TOO_OFTEN, as_of_ms, last=sentence)]
    return [closed]


def keep(board: Board, job: Job, attempt: Attempt, result: str, as_of_ms: int) -> AttemptClosed:
    """This attempt is the one that counts. ``result``: the hash of the signed claim."""
    closed = _closed(attempt, "kept", Closed.DONE.reason, Closed.DONE.sentence, as_of_ms, result)
    board.take(closed, job.partition)
    return closed


def give_up_job(board: Board, job: Job, why: GivenUp, as_of_ms: int, *, last: str = "") -> JobGivenUp:
    """``last``: what is to be said of its last attempt."""
    sentence = why.sentence.format(attempts=len(job.tried))
    return _given_up(board, job, why.reason, f"{sentence} The last: {last}" if last else sentence, as_of_ms)


def _given_up(board: Board, job: Job, reason: str, sentence: str, as_of_ms: int) -> JobGivenUp:
    given_up = JobGivenUp(
        job=job.id,
        gateway=job.gateway,
        attempts=len(job.tried),
        reason=reason,
        sentence=sentence[:SENTENCE_CHARACTERS_MAX],
        as_of=instant(as_of_ms),
    )
    board.take(given_up, job.partition)
    return given_up


def _closed(
    attempt: Attempt,
    outcome: Literal["kept", "lost"],
    reason: str,
    sentence: str,
    as_of_ms: int,
    result: str | None = None,
) -> AttemptClosed:
    return AttemptClosed(
        job=attempt.job,
        attempt=attempt.number,
        lease=attempt.lease,
        gpu=attempt.gpu,
        device=attempt.device,
        contributor=attempt.contributor,
        outcome=outcome,
        reason=reason,
        sentence=sentence,
        result=result,
        as_of=instant(as_of_ms),
    )
