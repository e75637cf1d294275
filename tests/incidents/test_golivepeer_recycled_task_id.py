"""Incident 38, `golivepeer-recycled-task-id`, the scheduler's part: which answer is taken for which task.

In go-livepeer task ids count from zero after each start, and a result is matched by that number alone: a late answer from
before a restart is taken for a new task, and whoever holds the shared secret answers anyone's. Here an answer counts only
if job, attempt, lease and device key are the assignment's, signed by that key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from millpond.events.agent_claims import JobSucceeded
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from scheduler.play import Play
from scheduler.samples import LOST_S, gateway, gpu, joined, key, requested, succeeded, terms

NAMES = {gpu(name): name for name in ("a", "b", "c")}


@dataclass
class Told:
    """J1 was A's (lost), then B's; J2 is C's. ``answers``: what comes after the scheduler has started again."""

    answers: list[JobSucceeded] = field(default_factory=list)
    first: JobAssigned | None = None
    second: JobAssigned | None = None
    other: JobAssigned | None = None


def story(play: Play) -> Told:
    play(terms(), gateway(), *joined("a"), requested("j1"))
    first = play.last(JobAssigned)
    play(*joined("b"))
    play.after(LOST_S)
    second = play.last(JobAssigned)
    play(*joined("c"), requested("j2"))
    other = play.last(JobAssigned)
    assert [NAMES[each.gpu] for each in (first, second, other)] == ["a", "b", "c"]
    play.take_over()
    return Told([succeeded(first, "a"), succeeded(other, "b"), succeeded(other, "c")], first, second, other)


class NaiveOrchestrator:
    """What the source does: tasks are numbered from zero after each start, and a result is matched by its number."""

    def __init__(self) -> None:
        self.waiting: dict[int, str] = {}
        self.paid: list[tuple[str, str]] = []

    def assign(self, job: str) -> int:
        number = len(self.waiting)
        self.waiting[number] = job
        return number

    def answer(self, number: int, by: str) -> None:
        if number in self.waiting:
            self.paid.append((self.waiting.pop(number), by))


@pytest.fixture
def play() -> Play:
    return Play()


def test_only_the_device_that_has_the_job_now_answers_it(play: Play) -> None:
    told = story(play)
    for answer in told.answers:
        play(answer)
    kept = [closed for closed in play.all(AttemptClosed) if closed.outcome == "kept"]
    assert [(closed.job, closed.device) for closed in kept] == [(requested("j2").job, key("d-c").device)]


@pytest.mark.parametrize("changed", ["job", "attempt", "lease", "device"])
def test_each_of_the_four_must_be_the_assignments(play: Play, changed: str) -> None:
    told = story(play)
    assert told.first is not None
    assert told.second is not None
    assert told.other is not None
    answers = {
        "job": succeeded(told.other.model_copy(update={"job": told.second.job}), "c"),
        "attempt": succeeded(told.second.model_copy(update={"attempt": told.first.attempt}), "b"),
        "lease": succeeded(told.second.model_copy(update={"lease": told.first.lease}), "b"),
        "device": succeeded(told.second, "c"),
    }
    assert play(answers[changed]) == []
    play(succeeded(told.second, "b"))
    assert play.last(AttemptClosed).outcome == "kept"


def test_the_same_story_pays_the_wrong_ones_where_a_number_is_all_that_is_matched() -> None:
    orchestrator = NaiveOrchestrator()
    late = orchestrator.assign("j1")
    orchestrator = NaiveOrchestrator()  # it starts again
    orchestrator.assign("j2")
    orchestrator.answer(late, "a")
    assert orchestrator.paid == [("j2", "a")], "A is paid for C's job"
