"""What becomes of an attempt when nothing, or too late, or the wrong thing is heard of it."""

from __future__ import annotations

import pytest

from millpond.events.registry_gpus import LivenessPaused, LivenessResumed
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned, JobFinished, JobGivenUp
from scheduler.play import Play, unread
from scheduler.samples import (
    GRACE_S,
    LEASE_S,
    LOST_S,
    START_MS,
    at,
    device_removed,
    failed,
    gone,
    joined,
    online,
    progress,
    requested,
    started,
    succeeded,
)


def test_a_job_whose_lease_ran_out_goes_to_another_gpu(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), requested("j1"))
    play.until(seconds=LOST_S)
    first, second = play.all(JobAssigned)
    assert second.attempt == 2
    assert second.gpu != first.gpu
    closed = play.last(AttemptClosed)
    assert (closed.attempt, closed.outcome, closed.reason) == (1, "lost", "lease-ended")


def test_nothing_is_lost_within_the_time_of_grace(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play.until(seconds=LEASE_S + GRACE_S - 0.1)
    assert play.all(AttemptClosed) == []


@pytest.mark.parametrize("sign", [started, progress])
def test_a_sign_of_life_renews_the_lease_by_edges_stamp(play: Play, sign: object) -> None:
    play(*joined("g1"), requested("j1"))
    assigned = play.last(JobAssigned)
    for second in (6, 12, 18):
        play.until(second)
        play(sign(assigned, "g1"))  # type: ignore[operator]
    play.until(18 + LEASE_S + GRACE_S - 0.1)
    assert play.all(AttemptClosed) == []
    play.until(18 + LOST_S)
    assert play.last(AttemptClosed).reason == "lease-ended"


def test_a_lease_is_renewed_from_the_stamp_and_not_from_when_it_was_read(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    assigned = play.last(JobAssigned)
    play.until(11)
    play(progress(assigned, "g1"), stamp_ms=START_MS + 2_000)
    play.until(2 + LOST_S)
    assert play.last(AttemptClosed).reason == "lease-ended"


def test_an_older_sign_of_life_takes_nothing_away(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    assigned = play.last(JobAssigned)
    play(progress(assigned, "g1"), stamp_ms=START_MS + 8_000)
    play(started(assigned, "g1"), stamp_ms=START_MS + 1_000)
    play.until(8 + LEASE_S + GRACE_S - 0.1)
    assert play.all(AttemptClosed) == []


def test_a_result_behind_the_lease_counts_while_nobody_else_has_the_job(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play.until(LEASE_S + 1)
    play(succeeded(play.last(JobAssigned), "g1"))
    assert play.last(AttemptClosed).outcome == "kept"


def test_a_result_of_an_attempt_that_was_lost_is_never_kept(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), requested("j1"))
    first = play.last(JobAssigned)
    play.until(LOST_S)
    second = play.last(JobAssigned)
    by = {online("g1").gpu: "g1", online("g2").gpu: "g2"}
    assert play(succeeded(first, by[first.gpu])) == []
    play(succeeded(second, by[second.gpu]))
    assert play(succeeded(first, by[first.gpu])) == []
    kept = [closed for closed in play.all(AttemptClosed) if closed.outcome == "kept"]
    assert [closed.attempt for closed in kept] == [2]
    assert play.last(JobFinished).attempt == 2


def test_no_lease_is_judged_while_something_about_it_may_lie_unread(play: Play) -> None:
    """The scheduler's own outage, or a stopped partition: nobody is silent whose words nobody could read."""
    play(*joined("g1"), *joined("g2"), requested("j1"), requested("other"))
    first, other = play.all(JobAssigned)
    play.unread = unread(first.job)
    assert not play.unread & unread(other.job), "two names whose partitions differ"
    play.until(40)
    assert {closed.job for closed in play.all(AttemptClosed)} == {other.job}
    play(succeeded(first, "g1" if first.gpu == online("g1").gpu else "g2"), stamp_ms=START_MS + 5_000)
    assert play.last(JobFinished).job == first.job


def test_a_job_past_its_deadline_is_given_up_and_no_result_behind_it_counts(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=15))
    assigned = play.last(JobAssigned)
    play.until(9)
    play(progress(assigned, "g1"))
    play.until(15 + GRACE_S - 0.1)
    assert play.all(JobGivenUp) == []
    closed, given_up, _ = play(succeeded(assigned, "g1"))
    assert isinstance(closed, AttemptClosed)
    assert (closed.outcome, closed.reason) == ("lost", "deadline-passed")
    assert isinstance(given_up, JobGivenUp)
    assert given_up.reason == "deadline-passed"


def test_a_result_stamped_before_the_deadline_counts_within_the_grace(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=15))
    assigned = play.last(JobAssigned)
    play(progress(assigned, "g1"), stamp_ms=START_MS + 9_000)
    play.until(16)
    play(succeeded(assigned, "g1"), stamp_ms=START_MS + 14_999)
    assert play.last(AttemptClosed).outcome == "kept"


def test_a_deadline_ends_a_job_that_shows_progress_for_ever(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=30))
    for second in range(1, 40, 2):
        play.until(second)
        play(progress(play.all(JobAssigned)[0], "g1"))
    assert play.last(JobGivenUp).reason == "deadline-passed"
    assert len(play.all(JobAssigned)) == 1


def test_a_job_is_tried_as_often_as_the_terms_allow(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), requested("j1", deadline_s=600))
    play.until(200)
    assert len(play.all(JobAssigned)) == 3
    assert play.last(JobGivenUp).reason == "tried-too-often"
    assert play.last(JobGivenUp).attempts == 3


def test_a_gpu_that_is_gone_loses_its_jobs_at_once_to_another(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(*joined("g2"))
    play(gone("g1"))
    play.after(0.1)
    assert play.last(AttemptClosed).reason == "gpu-gone"
    assert [assigned.gpu for assigned in play.all(JobAssigned)] == [online("g1").gpu, online("g2").gpu]


def test_the_last_words_of_a_gpu_that_is_gone_are_heard(play: Play) -> None:
    """It finished, said goodbye, and the registry's word of that was read before its result."""
    play(*joined("g1"), requested("j1"))
    play(gone("g1"))
    play(succeeded(play.last(JobAssigned), "g1"))
    assert play.last(AttemptClosed).outcome == "kept"


def test_a_gpu_that_is_gone_and_back_does_not_go_on_with_what_it_had(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(gone("g1"))
    play(online("g1"))
    play.after(0.1)
    assert [assigned.attempt for assigned in play.all(JobAssigned)] == [1, 2]


def test_nothing_a_removed_device_says_counts(play: Play) -> None:
    play(*joined("g1"), *joined("g2"), requested("j1"))
    first = play.last(JobAssigned)
    by, other = ("g1", "g2") if first.gpu == online("g1").gpu else ("g2", "g1")
    play(device_removed(by))
    assert play.last(AttemptClosed).reason == "device-removed"
    assert play.last(JobAssigned).gpu == online(other).gpu
    assert play(succeeded(first, by)) == []


def test_nothing_a_removed_device_says_counts_also_if_its_gpu_was_gone_before(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(gone("g1"), device_removed("g1"))
    assert play(succeeded(play.last(JobAssigned), "g1")) == []


def test_a_failure_goes_elsewhere_at_once(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(*joined("g2"))
    play(failed(play.last(JobAssigned), "g1"))
    closed = play.last(AttemptClosed)
    assert (closed.reason, closed.sentence) == ("crashed", "It says why.")
    assert play.last(JobAssigned).gpu == online("g2").gpu


@pytest.mark.parametrize("reason", ["bad-input", "too-large"])
def test_an_input_is_at_fault_when_two_attempts_say_so(play: Play, reason: str) -> None:
    play(*joined("g1"), requested("j1"))
    play(*joined("g2"))
    play(failed(play.last(JobAssigned), "g1", reason))
    assert play.all(JobGivenUp) == []
    play(failed(play.last(JobAssigned), "g2", reason))
    given_up = play.last(JobGivenUp)
    assert (given_up.reason, given_up.attempts, given_up.sentence) == (reason, 2, "It says why.")


def test_one_gpu_that_blames_every_input_spoils_no_job(play: Play) -> None:
    play(*joined("liar"), requested("j1"))
    play(*joined("g2"))
    play(failed(play.last(JobAssigned), "liar", "bad-input"))
    play(succeeded(play.last(JobAssigned), "g2"))
    assert play.last(JobFinished).attempt == 2


def test_while_most_of_the_pool_is_silent_no_lease_ends(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=100))
    play(LivenessPaused(silent=3, devices=4, sentence="", as_of=at(START_MS)))
    play.until(50)
    assert play.all(AttemptClosed) == []
    play(LivenessResumed(silent=0, devices=4, as_of=at(play.now_ms)))
    play.until(50 + LEASE_S)
    assert play.all(AttemptClosed) == []
    play.until(50 + LOST_S)
    assert play.last(AttemptClosed).reason == "lease-ended"


def outage(play: Play, until_s: float) -> None:
    play(LivenessPaused(silent=3, devices=4, sentence="", as_of=at(play.now_ms)))
    play.until(until_s)
    play(LivenessResumed(silent=0, devices=4, as_of=at(play.now_ms)))


def test_a_dead_machine_is_found_out_however_often_our_door_falls_shut(play: Play) -> None:
    """Outages more often than a lease is long: their time doesn't count, and the time between them adds up."""
    play(*joined("g1"), requested("j1", deadline_s=500))
    between_s = LEASE_S / 2
    outage(play, 30)
    play.until(30 + between_s)
    outage(play, 60)
    play.until(60 + between_s)
    assert play.all(AttemptClosed) == []
    outage(play, 90)
    play.until(90 + GRACE_S + 0.5)
    assert play.last(AttemptClosed).reason == "lease-ended"


def test_whoever_shows_a_sign_of_life_between_outages_has_a_whole_lease_after_each(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=500))
    assigned = play.last(JobAssigned)
    for end_s in (30, 60, 90):
        outage(play, end_s)
        play.until(end_s + LEASE_S - 1)
        play(progress(assigned, "g1"))
        play.until(end_s + LEASE_S + 1)
    assert play.all(AttemptClosed) == []


def test_also_then_a_deadline_is_a_deadline(play: Play) -> None:
    play(*joined("g1"), requested("j1", deadline_s=20))
    play(LivenessPaused(silent=3, devices=4, sentence="", as_of=at(START_MS)))
    play.until(20 + GRACE_S + 1)
    assert play.last(JobGivenUp).reason == "deadline-passed"
