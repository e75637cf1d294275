"""Incident 35, `golivepeer-first-fit-monopoly`: the first registered worker with room takes everything until it is full.

Whoever joined later starves (go-livepeer `selectWorker`). Here the least loaded gets the job, and among equals the one
whose last job is longest ago.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest

from millpond.events.scheduler_assignments import JobAssigned
from scheduler.play import Play
from scheduler.samples import gateway, gpu, joined, requested, succeeded, terms

SEED = 35
JOBS, SLOTS, GPUS = 800, 4, 10
# 40 % of ten GPUs with four slots.
RUNNING = 16


class Pool:
    """The scheduler, asked for one GPU after the other."""

    def __init__(self) -> None:
        self.play = Play()
        self.play(terms(), gateway())
        self._assigned: dict[str, JobAssigned] = {}
        self._names: dict[str, str] = {}

    def join(self, name: str) -> None:
        self.play(*joined(name, slots=SLOTS))
        self._names[gpu(name)] = name

    def choose(self, job: str) -> str:
        self.play(requested(job))
        self._assigned[job] = self.play.last(JobAssigned)
        return self._names[self._assigned[job].gpu]

    def free(self, job: str, name: str) -> None:
        self.play(succeeded(self._assigned.pop(job), name))


class FirstFit:
    """What the source did."""

    def __init__(self) -> None:
        self._free: dict[str, int] = {}

    def join(self, name: str) -> None:
        self._free[name] = SLOTS

    def choose(self, job: str) -> str:
        name = next(name for name, slots in self._free.items() if slots)
        self._free[name] -= 1
        return name

    def free(self, job: str, name: str) -> None:
        self._free[name] += 1


def work(pool: Pool | FirstFit) -> list[str]:
    """Who got each job; half-way an eleventh joins."""
    chance = random.Random(SEED)
    for n in range(GPUS):
        pool.join(f"g{n}")
    running: list[tuple[str, str]] = []
    choices = []
    for n in range(JOBS):
        if n == JOBS // 2:
            pool.join("newcomer")
        name = pool.choose(f"j{n}")
        choices.append(name)
        running.append((f"j{n}", name))
        if len(running) > RUNNING:
            pool.free(*running.pop(chance.randrange(len(running))))
    return choices


def check(choices: list[str]) -> None:
    before, after = choices[: JOBS // 2], choices[JOBS // 2 :]
    counts = Counter({f"g{n}": 0 for n in range(GPUS)})
    counts.update(before)
    jain = sum(counts.values()) ** 2 / (len(counts) * sum(count**2 for count in counts.values()))
    assert jain >= 0.95
    assert "newcomer" in after[:100]


def test_nobody_starves_and_a_newcomer_soon_has_a_job() -> None:
    check(work(Pool()))


def test_the_same_choices_come_of_the_same_jobs() -> None:
    assert work(Pool()) == work(Pool())


def test_the_same_check_fails_against_first_fit() -> None:
    with pytest.raises(AssertionError):
        check(work(FirstFit()))
