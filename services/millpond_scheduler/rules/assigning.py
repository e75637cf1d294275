"""Which GPU runs which job: the one with the smallest share of its slots in use, counting what was assigned just now."""

from __future__ import annotations

from bisect import insort
from functools import lru_cache

from millpond.events.ids import lease_id
from millpond.events.scheduler_assignments import CANDIDATES_MAX, Candidate, JobAssigned
from millpond.workloads.transcode import WORKLOAD
from millpond_scheduler.rules.board import FULL, Board, Decided
from millpond_scheduler.rules.closing import give_up_job
from millpond_scheduler.rules.facts import Gpu, Job, instant
from millpond_scheduler.rules.ranking import Rank
from millpond_scheduler.rules.reasons import GivenUp


def assign_waiting(board: Board, as_of_ms: int) -> list[Decided]:
    """Gives GPUs to the jobs that wait, in the order in which they were accepted, as long as there are free slots."""
    decided: list[Decided] = []
    while (job := board.next_waiting()) is not None:
        if job.deadline_ms <= as_of_ms:
            decided.append(give_up_waiting(board, job, as_of_ms))
            continue
        candidates = best_candidates(board, job, as_of_ms)
        if not candidates:
            break
        decided.append(_assign(board, job, candidates, as_of_ms))
    return decided


def give_up_waiting(board: Board, job: Job, as_of_ms: int) -> Decided:
    """Its deadline has come, and no GPU has it."""
    if not job.tried:
        return give_up_job(board, job, GivenUp.NO_GPU_FREE, as_of_ms)
    return give_up_job(board, job, GivenUp.DEADLINE_PASSED, as_of_ms, last=f"it was lost, {job.tried[-1].reason}.")


def best_candidates(board: Board, job: Job, as_of_ms: int) -> list[tuple[Rank, Gpu]]:
    """The best first, at most ``CANDIDATES_MAX``. Where an attempt was lost before, another contributor is preferred, and
    then another GPU: each counts as much as a GPU that is full.
    """
    found: list[tuple[Rank, Gpu]] = []
    lost_gpus = {each.gpu for each in job.tried}
    lost_contributors = {each.contributor for each in job.tried}
    for rank, gpu in board.ranks():
        # Whoever comes now can only be worse than what was found.
        if len(found) >= CANDIDATES_MAX and found[CANDIDATES_MAX - 1][0] <= rank:
            break
        if board.devices[gpu.device].expires_ms <= as_of_ms or WORKLOAD not in gpu.workloads:
            continue
        if lost_gpus:
            penalty = FULL * ((gpu.contributor in lost_contributors) + (gpu.id in lost_gpus))
            insort(found, (rank._replace(score=rank.score + penalty), gpu), key=_rank)
        else:
            found.append((rank, gpu))
    return found[:CANDIDATES_MAX]


# Whoever stands among the best is named by one assignment after the other until it is his turn.
@lru_cache(maxsize=16_384)
def _candidate(gpu: str, score: int, slots_free: int) -> Candidate:
    return Candidate(gpu=gpu, score=score, slots_free=slots_free)


def _rank(found: tuple[Rank, Gpu]) -> Rank:
    return found[0]


def _assign(board: Board, job: Job, candidates: list[tuple[Rank, Gpu]], as_of_ms: int) -> JobAssigned:
    gpu = candidates[0][1]
    number = len(job.tried) + 1
    lease_ms = board.offers[job.terms_hash].terms.work.lease_s * 1_000
    assigned = JobAssigned(
        job=job.id,
        attempt=number,
        lease=lease_id(job.id, number),
        lease_until=instant(min(as_of_ms + lease_ms, job.deadline_ms)),
        gpu=gpu.id,
        hardware_id=gpu.hardware_id,
        device=gpu.device,
        contributor=gpu.contributor,
        delegation=board.devices[gpu.device].delegation,
        workload=WORKLOAD,
        spec=job.spec,
        deadline_at=instant(job.deadline_ms),
        candidates=tuple(_candidate(each.id, rank.score, each.slots - board.used(each)) for rank, each in candidates),
        as_of=instant(as_of_ms),
    )
    board.take(assigned, job.partition)
    return assigned
