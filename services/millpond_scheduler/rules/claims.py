"""What devices say about attempts. It counts only from the device, for the job, the attempt and the lease that are open."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from millpond.events.agent_claims import JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.device_claims import AttemptClaim, JobFailedClaim, JobSucceededClaim
from millpond.events.scheduler_assignments import JobFinished
from millpond.identity.device_signature import verify_device
from millpond_scheduler.rules.board import Board, Decided
from millpond_scheduler.rules.closing import keep, lose
from millpond_scheduler.rules.facts import Attempt, Job, instant
from millpond_scheduler.rules.reasons import Closed, GivenUp

AboutAttempt = JobStarted | JobProgress | JobSucceeded | JobFailed


def on_claim(board: Board, event: AboutAttempt, pool: str, stamp_ms: int, as_of_ms: int) -> list[Decided]:
    """``stamp_ms``: edge's, of its arrival. What is not about an open attempt, or not its device's word, changes nothing."""
    claim = _read(event)
    attempt = None if claim is None else board.attempts.get(claim.job)
    if claim is None or attempt is None or not _is_about(attempt, claim, event.device):
        return []
    device = board.devices.get(attempt.device)
    if device is None or device.contributor != attempt.contributor or not _is_signed(event, pool):
        return []
    job = board.jobs[claim.job]
    match event, claim:
        case JobSucceeded(), JobSucceededClaim():
            return _succeeded(board, job, attempt, event.payload_hash, claim, stamp_ms, as_of_ms)
        case JobFailed(), JobFailedClaim(reason=reason, sentence=sentence):
            return lose(board, job, attempt, reason, sentence, as_of_ms)
        case _:
            renew(board, job, attempt, stamp_ms)
            return []


def renew(board: Board, job: Job, attempt: Attempt, stamp_ms: int) -> None:
    """A sign of life makes the lease last from then on, never beyond the deadline, and never shorter."""
    until_ms = min(stamp_ms + attempt.lease_ms, job.deadline_ms)
    if until_ms > attempt.lease_until_ms:
        board.put_attempt(replace(attempt, lease_until_ms=until_ms, forgiven=False))


def recall_claim(board: Board, event: JobStarted | JobProgress, stamp_ms: int) -> None:
    """What a covered sign of life has left: it was verified when it was decided on."""
    claim = _read(event)
    attempt = None if claim is None else board.attempts.get(claim.job)
    if claim is not None and attempt is not None and _is_about(attempt, claim, event.device):
        renew(board, board.jobs[claim.job], attempt, stamp_ms)


def _read(event: AboutAttempt) -> AttemptClaim | None:
    try:
        return event.claim
    except ValidationError:
        return None


def _is_about(attempt: Attempt, claim: AttemptClaim, device: str) -> bool:
    return (attempt.number, attempt.lease, attempt.device) == (claim.attempt, claim.lease, device)


def _is_signed(event: AboutAttempt, pool: str) -> bool:
    return verify_device(
        pool=pool, kind=event.type_name, text=event.payload, device=event.device, signature=event.signature
    )


def _succeeded(
    board: Board, job: Job, attempt: Attempt, result: str, claim: JobSucceededClaim, stamp_ms: int, as_of_ms: int
) -> list[Decided]:
    """Also behind the lease's end, as long as the attempt is open: nobody else has begun it."""
    if stamp_ms > job.deadline_ms:
        late = Closed.DEADLINE_PASSED
        return lose(board, job, attempt, late.reason, late.sentence, as_of_ms, give_up=GivenUp.DEADLINE_PASSED)
    if [output.rendition for output in claim.outputs] != [rendition.name for rendition in job.spec.renditions]:
        differ = Closed.OUTPUTS_DIFFER
        return lose(board, job, attempt, differ.reason, differ.sentence, as_of_ms)
    kept = keep(board, job, attempt, result, as_of_ms)
    finished = JobFinished(
        job=job.id, gateway=job.gateway, attempt=attempt.number, outputs=claim.outputs, as_of=instant(as_of_ms)
    )
    board.take(finished, job.partition)
    return [kept, finished]
