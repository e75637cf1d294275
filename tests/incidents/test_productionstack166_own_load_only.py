"""`productionstack166-own-load-only` (vllm-project/production-stack #166, ray-project/ray PR #64949; in the list of the
rest): several routers, each counting only the load that it gave itself, pile onto one worker.

Here one is active, it counts what it assigned from the assignments themselves, and whoever takes over knows them: no GPU
ever has more than its slots, in whatever order events come.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.events.scheduler_assignments import JobAssigned
from scheduler.play import Play
from scheduler.samples import failed, gateway, gpu, joined, requested, succeeded, terms

SLOTS = {"g0": 1, "g1": 2, "g2": 5}
NAMES = {gpu(name): name for name in SLOTS}
# Each step: so many jobs are asked for; or one of those that run ends, well or badly; or another process takes over.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["succeed", "fail"]), st.integers(0, 100)),
        st.tuples(st.just("take over"), st.just(0)),
    ),
    max_size=40,
)
Steps = list[tuple[str, int]]


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_no_gpu_ever_has_more_than_its_slots(steps: Steps) -> None:
    """``Play`` checks it at each assignment, from the published events alone."""
    play = Play()
    play(terms(), gateway(), *(event for name, slots in SLOTS.items() for event in joined(name, slots=slots)))
    asked = 0
    for step, n in steps:
        running = list(play.history.open.values())
        if step == "ask":
            play(*(requested(f"j{asked + each}") for each in range(n)))
            asked += n
        elif step == "take over":
            play.take_over()
        elif running:
            ended = running[n % len(running)]
            play((succeeded if step == "succeed" else failed)(ended, NAMES[ended.gpu]))
    # And none is left idle while somebody waits.
    assert not play.board.next_waiting() or len(play.history.open) == sum(SLOTS.values())


class NaiveRouter:
    """Counts what it gave itself, since it started."""

    def __init__(self) -> None:
        self.load = Counter(dict.fromkeys(SLOTS, 0))

    def choose(self) -> str:
        name = min(SLOTS, key=lambda name: (self.load[name] / SLOTS[name], name))
        self.load[name] += 1
        return name


def test_the_same_jobs_overload_a_gpu_behind_two_routers_that_count_only_their_own() -> None:
    routers = [NaiveRouter(), NaiveRouter()]
    running = Counter(routers[n % 2].choose() for n in range(sum(SLOTS.values())))
    with pytest.raises(AssertionError):
        assert all(running[name] <= slots for name, slots in SLOTS.items())


def test_the_check_notices_an_overloaded_gpu() -> None:
    play = Play()
    play(terms(), gateway(), *joined("g0"), requested("j0"), requested("j1"))
    first = play.last(JobAssigned)
    second = first.model_copy(update={"job": requested("j1").job})
    with pytest.raises(AssertionError, match="more attempts than slots"):
        play.history.check(second)
