"""What became of each job: from ``gateway.jobs.v1`` (asked) and ``scheduler.assignments.v1`` (decided)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from millpond.events.device_claims import Output
from millpond.events.gateway_jobs import JobRequested
from millpond.events.scheduler_assignments import (
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond.stream.decision import Received
from millpond.stream.record import Place

JobState = Literal["requested", "accepted", "assigned", "finished", "refused", "given_up"]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands. ``reason`` and ``sentence``: why it came to nothing, or why its last attempt was lost."""

    job: str
    gateway: str
    request_id: str
    state: JobState
    attempts: int = 0
    reason: str | None = None
    sentence: str | None = None
    outputs: tuple[Output, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One record about a job, where it stands, and the job behind it."""

    place: Place
    offset: int
    type_name: str
    job: Job


class Jobs:
    """All jobs, and per gateway the changes in the order in which they were read."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._asked: dict[str, JobRequested] = {}
        self._noted: dict[str, JobRequested] = {}
        self._open: dict[str, JobAssigned] = {}
        # The same by device: thousands of agents may come back at once.
        self._open_of: dict[str, dict[str, JobAssigned]] = {}
        self._changes: dict[str, list[Change]] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case JobRequested(job=job) as asked:
                # The first on the log counts, as it does for the scheduler.
                self._asked.setdefault(job, asked)
                self._noted.pop(job, None)
            case event if (after := self._after(event)) is not None:
                self._jobs[after.job] = after
                change = Change(received.place, received.offset, event.type_name, after)
                self._changes.setdefault(after.gateway, []).append(change)

    def note(self, event: JobRequested) -> None:
        """Kafka has acknowledged this request; it counts here until it is read, or another one that came before it."""
        if event.job not in self._asked:
            self._noted.setdefault(event.job, event)

    def request(self, job: str) -> JobRequested | None:
        """What was asked for as this job, as far as it is known here."""
        return self._asked.get(job) or self._noted.get(job)

    def job(self, job: str, gateway: str) -> Job | None:
        """This gateway's job; None for a stranger's, as for one that doesn't exist."""
        found = self._jobs.get(job)
        if found is None and (asked := self.request(job)) is not None:
            found = Job(job, asked.gateway, asked.request_id, "requested")
        return found if found is not None and found.gateway == gateway else None

    def changes(self, gateway: str) -> Sequence[Change]:
        """This gateway's changes so far; more come at its end."""
        return self._changes.setdefault(gateway, [])

    def open_assignments(self, device: str) -> tuple[JobAssigned, ...]:
        """The attempts that are this device's now."""
        return tuple(self._open_of.get(device, {}).values())

    def open_assignment(self, job: str) -> JobAssigned | None:
        """The attempt under way, if there is one."""
        return self._open.get(job)

    def is_over(self, job: str, attempt: int) -> bool:
        """Whether the attempt is known to have been closed; one that isn't known (yet) is not."""
        known, under_way = self._jobs.get(job), self._open.get(job)
        if known is None or known.attempts < attempt:
            return False
        return under_way is None or under_way.attempt > attempt

    def _after(self, event: object) -> Job | None:
        """The job behind an event of the scheduler; None if it says nothing about a known job."""
        match event:
            case JobAccepted(job=job, gateway=gateway, request_id=request_id):
                return Job(job, gateway, request_id, "accepted")
            case JobRefused(job=job, gateway=gateway, request_id=request_id, reason=reason, sentence=sentence):
                return Job(job, gateway, request_id, "refused", reason=reason, sentence=sentence)
            case JobAssigned(job=job, attempt=attempt) if job in self._jobs:
                self._end_attempt(job)
                self._open[job] = self._open_of.setdefault(event.device, {})[job] = event
                return replace(self._jobs[job], state="assigned", attempts=attempt)
            case AttemptClosed(job=job) if job in self._jobs:
                return self._closed(event)
            case JobFinished(job=job, outputs=outputs) if job in self._jobs:
                self._end_attempt(job)
                return replace(self._jobs[job], state="finished", outputs=outputs, reason=None, sentence=None)
            case JobGivenUp(job=job, reason=reason, sentence=sentence) if job in self._jobs:
                self._end_attempt(job)
                return replace(self._jobs[job], state="given_up", reason=reason, sentence=sentence)
        return None

    def _closed(self, event: AttemptClosed) -> Job:
        job, under_way = self._jobs[event.job], self._open.get(event.job)
        if under_way is not None and under_way.attempt == event.attempt:
            self._end_attempt(event.job)
        if event.outcome == "kept" or job.state != "assigned":
            return job
        return replace(job, state="accepted", reason=event.reason, sentence=event.sentence)

    def _end_attempt(self, job: str) -> None:
        """None is under way any more."""
        if (ended := self._open.pop(job, None)) is not None:
            del self._open_of[ended.device][job]
            if not self._open_of[ended.device]:
                del self._open_of[ended.device]
