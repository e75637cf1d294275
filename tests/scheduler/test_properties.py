"""Whatever comes, in whatever order, late, twice or never: each attempt is closed once, each job ends once, one is kept."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.events.event import Event
from millpond.events.gateway_jobs import JobRequested
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned, JobFinished, JobGivenUp, JobRefused
from scheduler.play import Play, unread
from scheduler.samples import (
    at,
    cancelled,
    contributor_admitted,
    contributor_suspended,
    device,
    device_removed,
    draining,
    failed,
    gateway,
    gone,
    gpu,
    online,
    progress,
    requested,
    started,
    succeeded,
    suspect,
    suspended,
    terms,
)

# Two of one contributor, one of another.
OWNERS = {"g0": "ann", "g1": "ann", "g2": "bob"}
NAMES = {gpu(name): name for name in OWNERS}
JOBS = 6

ABOUT_GPU = {
    "device": device,
    "online": lambda name, owner: online(name, owner, slots=2),
    "suspect": suspect,
    "draining": draining,
    "gone": gone,
    "device removed": device_removed,
    "suspended": lambda name, owner: contributor_suspended(owner),
    "admitted": lambda name, owner: contributor_admitted(owner),
}
ABOUT_ATTEMPT = {
    "started": started,
    "progress": progress,
    "succeeded": succeeded,
    "crashed": failed,
    "bad input": lambda assigned, by: failed(assigned, by, "bad-input"),
    "wrong outputs": lambda assigned, by: succeeded(assigned, by, ("240p",)),
}
SAID = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, JOBS - 1)),
    st.tuples(st.just("cancel"), st.integers(0, JOBS - 1)),
    st.tuples(st.sampled_from(sorted(ABOUT_GPU)), st.integers(0, len(OWNERS) - 1)),
    # Of any attempt there ever was, by its own device or another.
    st.tuples(st.sampled_from(sorted(ABOUT_ATTEMPT)), st.integers(0, 1_000)),
)
STEP = st.one_of(
    st.tuples(st.just("say"), st.lists(SAID, min_size=1, max_size=5)),
    st.tuples(st.just("wait"), st.integers(1, 20_000)),
    st.tuples(st.just("take over"), st.none()),
    st.tuples(st.just("stop a partition"), st.one_of(st.none(), st.integers(0, JOBS - 1))),
)


class Told:
    """Turns what Hypothesis draws into what is said."""

    def __init__(self) -> None:
        self.play = Play()
        self.play(terms(), gateway())
        for name, owner in OWNERS.items():
            self.play(device(name, owner), online(name, owner, slots=2))
        self.asked: set[str] = set()

    def step(self, kind: str, what: Any) -> None:
        if kind == "say":
            self.play(*(event for said in what for event in self.events(*said)))
        elif kind == "wait":
            self.play.after(what / 1000)
        elif kind == "take over":
            self.play.take_over()
        else:
            self.play.unread = frozenset() if what is None else unread(requested(f"j{what}").job)

    def events(self, what: str, n: int) -> list[Event]:
        if what == "ask":
            # Items come once: the library drops a gateway's repeat.
            return [] if f"j{n}" in self.asked else [self._ask(n)]
        if what == "cancel":
            return [cancelled(f"j{n}")]
        if what in ABOUT_GPU:
            name = list(OWNERS)[n]
            told = ABOUT_GPU[what](name, OWNERS[name])
            return [told.model_copy(update={"as_of": at(self.play.now_ms)}) if what == "gone" else told]
        assignments = self.play.all(JobAssigned)
        if not assignments:
            return []
        assigned = assignments[n % len(assignments)]
        own = NAMES[assigned.gpu]
        by = list(OWNERS)[n % len(OWNERS)] if n % 5 == 0 else own
        return [ABOUT_ATTEMPT[what](assigned, by)]

    def _ask(self, n: int) -> JobRequested:
        self.asked.add(f"j{n}")
        return requested(f"j{n}", deadline_s=20 + 10 * n)

    def end(self) -> None:
        self.play.unread = frozenset()
        self.play.after(200)


@given(st.lists(STEP, max_size=30))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_each_attempt_is_closed_once_each_job_ends_once_and_one_attempt_is_kept(steps: list[tuple[str, Any]]) -> None:
    """``Play`` checks every event against the history; here, that nothing stays open for ever."""
    told = Told()
    for kind, what in steps:
        told.step(kind, what)
    folded = told.play.folded()
    assert folded.jobs == told.play.board.jobs
    assert folded.attempts.keys() == told.play.board.attempts.keys()
    told.end()
    play = told.play
    ends = [event.job for kind in (JobFinished, JobGivenUp, JobRefused) for event in play.all(kind)]
    assert sorted(ends) == sorted(requested(name).job for name in told.asked)
    assert len(play.all(AttemptClosed)) == len(play.all(JobAssigned))
    kept = [closed.job for closed in play.all(AttemptClosed) if closed.outcome == "kept"]
    assert sorted(kept) == sorted(event.job for event in play.all(JobFinished))
    board = play.board
    assert (board.jobs, board.attempts, board.asked, dict(board.running)) == ({}, {}, {}, {})
    assert len(board.due) == 0


def test_a_suspended_gateways_jobs_that_were_taken_are_finished() -> None:
    play = Told().play
    play(requested("j1"))
    play(suspended())
    assigned = play.last(JobAssigned)
    play(succeeded(assigned, NAMES[assigned.gpu]))
    assert len(play.all(JobFinished)) == 1
