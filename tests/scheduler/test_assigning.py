"""Which GPU gets a job."""

from __future__ import annotations

from collections import Counter

import pytest

from millpond.events.scheduler_assignments import CANDIDATES_MAX, AttemptClosed, JobAssigned, JobFinished
from scheduler.play import Play
from scheduler.samples import (
    START_MS,
    address,
    contributor_admitted,
    contributor_suspended,
    device,
    device_removed,
    draining,
    failed,
    gateway,
    gone,
    gpu,
    joined,
    online,
    requested,
    succeeded,
    suspect,
    terms,
)


def names(*wanted: str) -> dict[str, str]:
    return {gpu(name): name for name in wanted}


def test_the_gpu_with_the_smallest_share_of_its_slots_in_use_gets_the_job(play: Play) -> None:
    play(*joined("big", slots=4), *joined("small", slots=2))
    play(*(requested(f"j{n}") for n in range(6)))
    load = Counter(assigned.gpu for assigned in play.all(JobAssigned))
    assert load == {gpu("big"): 4, gpu("small"): 2}
    for n, assigned in enumerate(play.all(JobAssigned)):
        scores = [candidate.score for candidate in assigned.candidates]
        assert scores[0] == min(scores), n


def test_what_was_assigned_in_the_same_transaction_counts(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), *joined("g3"))
    play(*(requested(f"j{n}") for n in range(5)))
    assert len({assigned.gpu for assigned in play.all(JobAssigned)}) == 3
    assert len(play.all(JobAssigned)) == 3


def test_among_equals_it_is_the_turn_of_whoever_had_the_last_job_longest_ago(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), *joined("g3"))
    who = names("g1", "g2", "g3")
    turns = []
    for n in range(9):
        play(requested(f"j{n}"))
        assigned = play.last(JobAssigned)
        turns.append(who[assigned.gpu])
        play(succeeded(assigned, turns[-1]))
    assert turns[:3] == turns[3:6] == turns[6:]
    assert set(turns[:3]) == {"g1", "g2", "g3"}


def test_the_best_candidates_stand_in_the_assignment_with_scores_and_free_slots(play: Play) -> None:
    for n in range(12):
        play(*joined(f"g{n}", slots=2))
    play(*(requested(f"j{n}") for n in range(3)))
    candidates = play.last(JobAssigned).candidates
    assert len(candidates) == CANDIDATES_MAX
    assert {(each.score, each.slots_free) for each in candidates} == {(0, 2)}
    play(*(requested(f"k{n}") for n in range(12)))
    assert {each.score for each in play.last(JobAssigned).candidates} == {500_000}


@pytest.mark.parametrize(
    "event",
    [suspect("g1"), draining("g1"), gone("g1"), device_removed("g1"), contributor_suspended("c-g1")],
    ids=lambda event: type(event).__name__,
)
def test_who_may_not_work_gets_no_new_job_and_keeps_what_runs_unless_he_is_out(play: Play, event: object) -> None:
    play(*joined("g1", slots=2), requested("j1"))
    first = play.last(JobAssigned)
    play(event)  # type: ignore[arg-type]
    play(requested("j2"))
    assert play.all(JobAssigned) == [first]
    if type(event).__name__ not in ("GpuGone", "DeviceRemoved"):
        play(succeeded(first, "g1"))
        assert play.last(JobFinished).job == first.job


def test_who_may_work_again_gets_what_waits(play: Play) -> None:
    play(*joined("g1"), contributor_suspended("c-g1"), requested("j1"))
    assert play.all(JobAssigned) == []
    play(contributor_admitted("c-g1"))
    assert len(play.all(JobAssigned)) == 1


def test_a_gpu_whose_device_is_not_known_yet_waits_for_it(play: Play) -> None:
    play(online("g1"), requested("j1"))
    assert play.all(JobAssigned) == []
    play(device("g1"))
    assert len(play.all(JobAssigned)) == 1


def test_a_gpu_of_a_device_that_works_for_somebody_else_by_now_gets_nothing(play: Play) -> None:
    play(device("g1", contributor="new"), online("g1", contributor="old"), requested("j1"))
    assert play.all(JobAssigned) == []


def test_a_delegation_that_has_expired_gives_no_work(play: Play) -> None:
    play(device("g1", expires_ms=START_MS + 5_000), online("g1"), requested("j1"))
    assert len(play.all(JobAssigned)) == 1
    play(succeeded(play.last(JobAssigned), "g1"))
    play.after(6)
    play(requested("j2"))
    assert len(play.all(JobAssigned)) == 1


def test_fewer_slots_than_before_are_kept_to(play: Play) -> None:
    play(*joined("g1", slots=3), requested("j1"), requested("j2"))
    play(online("g1", slots=1))
    play(requested("j3"))
    assert len(play.all(JobAssigned)) == 2
    play(succeeded(play.all(JobAssigned)[0], "g1"))
    assert len(play.all(JobAssigned)) == 2
    play(succeeded(play.all(JobAssigned)[1], "g1"))
    assert len(play.all(JobAssigned)) == 3


def test_after_a_loss_another_contributor_is_preferred_to_another_gpu_and_that_to_the_same(play: Play) -> None:
    play(*joined("a1", "ann"), requested("j1"))
    play(*joined("a2", "ann"), *joined("b1", "bob", slots=2), requested("full"))
    if play.last(JobAssigned).gpu != gpu("b1"):  # bob has one slot in use: more than ann's idle one
        play(requested("full too"))
    play(failed(play.all(JobAssigned)[0], "a1"))
    second = play.last(JobAssigned)
    assert second.contributor == address("bob")
    play(failed(second, "b1"))
    assert play.last(JobAssigned).attempt == 3


def test_with_one_gpu_in_the_pool_it_gets_another_try(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(failed(play.last(JobAssigned), "g1"))
    assert [assigned.attempt for assigned in play.all(JobAssigned)] == [1, 2]
    assert play.last(JobAssigned).candidates[0].score == 3_000_000  # it rests, and it is the same contributor and GPU


def test_a_gpu_that_fails_at_once_is_asked_after_all_others(play: Play) -> None:
    """The black hole: always idle, so always the least loaded."""
    play(*joined("hole"), *joined("g2", slots=20))
    spoiled = 0
    for n in range(15):
        play(requested(f"j{n}"))
        if play.last(JobAssigned).gpu == gpu("hole"):
            spoiled += 1
            play(failed(play.last(JobAssigned), "hole"))
    assert spoiled == 1


def test_a_rest_ends_and_is_longer_after_each_loss(play: Play) -> None:
    play(*joined("g1"), *joined("g2", slots=20))
    rests = []
    for n in range(4):
        begun_ms = play.now_ms
        for attempt in range(400):
            play(requested(f"j{n}-{attempt}", deadline_s=600))
            assigned = play.last(JobAssigned)
            if assigned.gpu == gpu("g1"):
                break
            play(succeeded(assigned, "g2"))
            play.after(0.5)
        rests.append((play.now_ms - begun_ms) / 1000)
        play(failed(assigned, "g1"))
        play(succeeded(play.last(JobAssigned), "g2"))
    assert rests[0] < 1 <= rests[1] < rests[2] < rests[3] <= 10


def test_bad_jobs_do_not_put_a_pool_to_sleep(play: Play) -> None:
    play(*joined("g1"), *joined("g2"))
    for n in range(6):
        play(requested(f"bad{n}"))
        while (assigned := play.last(JobAssigned)) and assigned.job in play.history.open:
            play(failed(assigned, names("g1", "g2")[assigned.gpu]))
    play(requested("good"))
    assert play.last(JobAssigned).job == requested("good").job


def test_a_kept_result_ends_a_rest(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(failed(play.last(JobAssigned), "g1"))
    play(succeeded(play.last(JobAssigned), "g1"))
    play(requested("j2"))
    assert play.last(JobAssigned).candidates[0].score == 0


def test_a_takeover_changes_nothing_about_whose_turn_it_is() -> None:
    def choices(*, taken_over: bool) -> list[str]:
        play = Play()
        play(terms(), gateway(), *(event for n in range(5) for event in joined(f"g{n}", slots=2)))
        who = names(*(f"g{n}" for n in range(5)))
        for n in range(30):
            play(requested(f"j{n}"))
            if n % 3 == 1:
                play(failed(play.last(JobAssigned), who[play.last(JobAssigned).gpu]))
            elif n % 3 == 2:
                play(succeeded(play.last(JobAssigned), who[play.last(JobAssigned).gpu]))
            if taken_over:
                play.take_over()
        return [each.gpu for each in play.all(JobAssigned)] + [each.reason for each in play.all(AttemptClosed)]

    assert choices(taken_over=True) == choices(taken_over=False)
