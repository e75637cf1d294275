"""The board: what the scheduler knows. What it decided is taken up here, and by a rebuild in just the same way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heappush
from typing import Final

from millpond.events.device_claims import SLOTS_MAX
from millpond.events.scheduler_assignments import (
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond_scheduler.rules.agenda import Agenda
from millpond_scheduler.rules.facts import Asked, Attempt, Device, Gpu, Job, Offer, Standing, Tried, milliseconds
from millpond_scheduler.rules.ranking import Rank, Ranking
from millpond_scheduler.rules.reasons import NOT_THE_GPUS_FAULT

Decided = JobAccepted | JobAssigned | AttemptClosed | JobFinished | JobRefused | JobGivenUp

# In millionths of a GPU's slots: what counts as much as a GPU that is full (see ``Candidate.score``).
FULL: Final = 1_000_000
# A GPU that lost an attempt by its own fault is asked after all others for so long, doubled with each further loss, since
# one that fails at once is always idle, and would be given everything. It is still asked: bad jobs must not stop a pool.
REST_FIRST_MS, REST_MAX_MS = 1_000, 60_000


@dataclass
class Changes:
    """Ids of what has changed since it was stored last."""

    jobs: set[str] = field(default_factory=set)
    attempts: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    gpus: set[str] = field(default_factory=set)
    standings: set[str] = field(default_factory=set)
    devices: set[str] = field(default_factory=set)
    gateways: set[str] = field(default_factory=set)
    barred: set[str] = field(default_factory=set)
    offers: set[str] = field(default_factory=set)
    counts: bool = False


@dataclass
class Counts:
    """One row: how far the counters and the clock are. ``paused_ms``: since when silence means nothing, as the registry says."""

    accepted: int = 0
    assigned: int = 0
    ticked_ms: int = 0
    epoch: int = 0
    paused_ms: int | None = None


class Board:
    """All that is open, and who may work on it. Finished jobs are forgotten.

    It is changed in place, since ten thousand decisions a second could not afford a copy each. That is safe where a failed
    transaction discards the state and loads it anew (STREAM 7). ``changes`` says what is to be stored.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.attempts: dict[str, Attempt] = {}
        self.asked: dict[str, Asked] = {}
        self.gpus: dict[str, Gpu] = {}
        self.standings: dict[str, Standing] = {}
        self.devices: dict[str, Device] = {}
        # Whether a gateway that was admitted may send jobs now.
        self.gateways: dict[str, bool] = {}
        # Contributors who get no new work: suspended, or leaving.
        self.barred: set[str] = set()
        self.offers: dict[str, Offer] = {}
        self.counts = Counts()
        self.changes = Changes()
        # By topic, the next offset of each partition; and what this transaction has done so far.
        self.read: dict[str, list[int]] = {}
        self.now_ms = 0
        self.has_spoken = False
        self.wakes_at_ms: int | None = None
        # Of the last jobs that were taken or refused, in a rebuild only: which requests are still to be decided.
        self.decided_lately: dict[str, int] = {}
        # All below follows from the above.
        self.ranking = Ranking()
        self.running: defaultdict[str, set[str]] = defaultdict(set)
        self.gpus_of: defaultdict[str, set[str]] = defaultdict(set)
        self.due = Agenda()
        self.resting = Agenda()
        self._waiting: list[tuple[int, str]] = []

    def index(self) -> None:
        """Makes what follows from the rest; to be called once after loading."""
        for attempt in self.attempts.values():
            self.running[attempt.gpu].add(attempt.job)
        for gpu in self.gpus.values():
            self.gpus_of[gpu.device].add(gpu.id)
            self.rerank(gpu.id)
        for id_, standing in self.standings.items():
            if standing.rests_until_ms:
                self.resting.put(id_, standing.rests_until_ms)
        for job in self.jobs.values():
            self.look_at(job)
        for id_, asked in self.asked.items():
            self.due.put(id_, asked.stamp_ms)
        self._waiting = [(job.order, job.id) for job in self.jobs.values() if job.id not in self.attempts]
        heapify(self._waiting)

    # --- What was decided.

    def take(self, event: Decided, partition: int) -> None:
        """Takes up what was decided about the job, whose events stand in ``partition``."""
        match event:
            case JobAccepted():
                self._accepted(event, partition)
            case JobAssigned():
                self._assigned(event)
            case AttemptClosed():
                self._closed(event)
            case JobRefused():
                self.forget_asked(event.job)
            case JobFinished() | JobGivenUp():
                del self.jobs[event.job]
                self.due.drop(event.job)
                self.changes.jobs.add(event.job)

    def _accepted(self, event: JobAccepted, partition: int) -> None:
        self.forget_asked(event.job)
        job = Job(
            event.job,
            partition,
            event.gateway,
            event.spec,
            event.terms_hash,
            milliseconds(event.deadline_at),
            self.counts.accepted,
        )
        self.counts.accepted += 1
        self.changes.counts = True
        self._put_job(job)

    def _assigned(self, event: JobAssigned) -> None:
        job = self.jobs[event.job]
        assert job.id not in self.attempts, f"{job.id} has an open attempt"
        assigned_ms, until_ms = milliseconds(event.as_of), milliseconds(event.lease_until)
        self.put_attempt(
            Attempt(
                job.id,
                event.attempt,
                event.lease,
                event.gpu,
                event.device,
                event.contributor,
                assigned_ms,
                until_ms - assigned_ms,
                until_ms,
            )
        )
        self.counts.assigned += 1
        self.changes.counts = True
        self.running[event.gpu].add(job.id)
        standing = self.standings.get(event.gpu, Standing())
        standing = Standing(self.counts.assigned, standing.failures, standing.rests_until_ms)
        self._put_standing(event.gpu, standing)

    def _closed(self, event: AttemptClosed) -> None:
        del self.attempts[event.job]
        self.changes.attempts.add(event.job)
        self.running[event.gpu].discard(event.job)
        if not self.running[event.gpu]:
            del self.running[event.gpu]
        self._judge_gpu(event)
        if event.outcome == "lost":
            job = self.jobs[event.job]
            self._put_job(replace(job, tried=(*job.tried, Tried(event.gpu, event.contributor, event.reason))))

    def _judge_gpu(self, event: AttemptClosed) -> None:
        if event.gpu not in self.gpus and event.gpu not in self.running:
            self._forget_standing(event.gpu)
            return
        standing = self.standings.get(event.gpu, Standing())
        if event.outcome == "kept" and standing.failures:
            standing = replace(standing, failures=0, rests_until_ms=0)
            self.resting.drop(event.gpu)
        elif event.outcome == "kept":
            self.rerank(event.gpu)
            return
        elif event.reason not in NOT_THE_GPUS_FAULT:
            rest_ms = min(REST_MAX_MS, REST_FIRST_MS << min(standing.failures, 10))
            until_ms = milliseconds(event.as_of) + rest_ms
            standing = replace(standing, failures=standing.failures + 1, rests_until_ms=until_ms)
            self.resting.put(event.gpu, until_ms)
        self._put_standing(event.gpu, standing)

    # --- Jobs.

    @property
    def waiting_count(self) -> int:
        """How many jobs have no GPU: accepted ones, and those not decided yet."""
        return len(self.jobs) - len(self.attempts) + len(self.asked)

    def next_waiting(self) -> Job | None:
        """The job that was accepted first among those that wait; it stays where it is."""
        while self._waiting:
            job = self.jobs.get(self._waiting[0][1])
            if job is not None and job.id not in self.attempts:
                return job
            heappop(self._waiting)
        return None

    def put_attempt(self, attempt: Attempt) -> None:
        self.attempts[attempt.job] = attempt
        self.changes.attempts.add(attempt.job)
        self.look_at(self.jobs[attempt.job])

    def look_at(self, job: Job) -> None:
        """Notes when something is to be decided about a job, should nothing come in before."""
        attempt = self.attempts.get(job.id)
        if attempt is None:
            self.due.put(job.id, job.deadline_ms)
        else:
            self.due.put(job.id, 0 if attempt.gone else attempt.lease_until_ms + self.grace_ms(job))

    def grace_ms(self, job: Job) -> int:
        # Terms that are not read yet (in a rebuild) come before any tick does.
        offer = self.offers.get(job.terms_hash)
        return 0 if offer is None else offer.terms.work.lease_grace_s * 1_000

    def put_asked(self, asked: Asked) -> None:
        """The transaction says how far it has read, though it decides nothing: this request is not to be read again."""
        self.has_spoken = True
        self.asked[asked.request.job] = asked
        self.changes.asked.add(asked.request.job)
        self.due.put(asked.request.job, asked.stamp_ms)

    def forget_asked(self, job: str) -> None:
        if self.asked.pop(job, None) is not None:
            self.changes.asked.add(job)
            self.due.drop(job)

    def _put_job(self, job: Job) -> None:
        self.jobs[job.id] = job
        self.changes.jobs.add(job.id)
        heappush(self._waiting, (job.order, job.id))
        self.look_at(job)

    # --- GPUs.

    def put_gpu(self, gpu: Gpu) -> None:
        self.gpus[gpu.id] = gpu
        self.gpus_of[gpu.device].add(gpu.id)
        self.changes.gpus.add(gpu.id)
        self.rerank(gpu.id)

    def drop_gpu(self, gpu: Gpu) -> None:
        """What it did for us is forgotten once it does nothing any more."""
        del self.gpus[gpu.id]
        self.gpus_of[gpu.device].discard(gpu.id)
        if not self.gpus_of[gpu.device]:
            del self.gpus_of[gpu.device]
        self.changes.gpus.add(gpu.id)
        if gpu.id not in self.running:
            self._forget_standing(gpu.id)
        self.rerank(gpu.id)

    def wake(self, gpu_id: str) -> None:
        """The rest of a GPU is over."""
        self._put_standing(gpu_id, replace(self.standings[gpu_id], rests_until_ms=0))

    def rerank(self, gpu_id: str) -> None:
        gpu = self.gpus.get(gpu_id)
        if gpu is None or not self._may_work(gpu):
            self.ranking.drop(gpu_id)
            return
        standing = self.standings.get(gpu_id, Standing())
        score = self.used(gpu) * FULL // gpu.slots + (FULL if standing.rests_until_ms else 0)
        self.ranking.put(Rank(score, standing.last_assigned, gpu_id))

    def used(self, gpu: Gpu) -> int:
        """How many of its slots are taken, as far as we have assigned them."""
        return len(self.running[gpu.id]) if gpu.id in self.running else 0

    def ranks(self) -> Iterator[tuple[Rank, Gpu]]:
        return ((rank, self.gpus[rank.gpu]) for rank in self.ranking)

    def _may_work(self, gpu: Gpu) -> bool:
        assert 0 < gpu.slots <= SLOTS_MAX
        device = self.devices.get(gpu.device)
        return (
            gpu.online
            and self.used(gpu) < gpu.slots
            and device is not None
            and device.contributor == gpu.contributor
            and gpu.contributor not in self.barred
        )

    def _put_standing(self, gpu_id: str, standing: Standing) -> None:
        self.standings[gpu_id] = standing
        self.changes.standings.add(gpu_id)
        self.rerank(gpu_id)

    def _forget_standing(self, gpu_id: str) -> None:
        if self.standings.pop(gpu_id, None) is not None:
            self.resting.drop(gpu_id)
            self.changes.standings.add(gpu_id)

    # --- What is offered.

    def offer_in_force(self) -> Offer | None:
        """The highest version whose epoch has begun."""
        begun = [offer for offer in self.offers.values() if offer.effective_from_epoch <= self.counts.epoch]
        return max(begun, key=lambda offer: offer.version, default=None)
