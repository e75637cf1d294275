"""What is taken, refused, taken back, and what waits."""

from __future__ import annotations

import pytest

from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.scheduler_assignments import (
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond.events.scheduler_reads import ReadUpTo
from millpond.events.topics import GATEWAY_JOBS, REGISTRY_GATEWAYS
from millpond.stream.record import Place
from scheduler.play import Play
from scheduler.samples import (
    DEADLINE_S_MAX,
    SPEC,
    START_MS,
    at,
    cancelled,
    gateway,
    gone,
    joined,
    requested,
    started,
    succeeded,
    suspended,
    terms,
)


def test_a_job_is_accepted_at_the_price_of_the_terms_and_assigned_in_the_same_transaction(play: Play) -> None:
    play(*joined("g1"))
    accepted, assigned, read = play(requested("j1", deadline_s=60))
    assert isinstance(accepted, JobAccepted)
    assert (accepted.price.wei, accepted.price.per_units, accepted.price.unit) == (12, 1, "pixel")
    assert accepted.terms_hash == terms().terms_hash
    assert accepted.deadline_at == at(START_MS + 60_000)
    assert isinstance(assigned, JobAssigned)
    assert (assigned.attempt, assigned.spec, assigned.lease_until) == (1, SPEC, at(START_MS + 10_000))
    assert assigned.delegation == "0x" + "de" * 32
    assert isinstance(read, ReadUpTo)


def test_read_up_to_says_how_far_each_input_had_been_read(play: Play) -> None:
    play(*joined("g1"))
    first = play(requested("j1"))[-1]
    assert isinstance(first, ReadUpTo)
    assert first.positions["registry.gateways.v1"] == (1,)
    assert sum(first.positions[GATEWAY_JOBS.name]) == 1
    assert sum(first.positions["registry.members.v1"]) == 1
    assert len(first.positions[GATEWAY_JOBS.name]) == GATEWAY_JOBS.partitions
    assert first.as_of == at(START_MS)


def test_what_decides_nothing_says_nothing(play: Play) -> None:
    assert play(*joined("g1")) == []
    assert play(gateway("another")) == []


def test_a_deadline_counts_from_edges_stamp_and_not_from_when_it_was_read(play: Play) -> None:
    play.after(20)
    play(requested("j1", deadline_s=60), stamp_ms=START_MS + 1_000)
    assert play.last(JobAccepted).deadline_at == at(START_MS + 61_000)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (requested("j", gateway="stranger"), "gateway-unknown"),
        (requested("j", gateway="suspended"), "gateway-suspended"),
        (requested("j", deadline_s=DEADLINE_S_MAX + 1), "deadline-too-long"),
    ],
)
def test_a_job_that_is_not_taken_is_refused_with_a_reason_and_a_sentence(
    play: Play, event: object, reason: str
) -> None:
    play(gateway("suspended"), suspended("suspended"), *joined("g1"))
    play(event)  # type: ignore[arg-type]
    play.after(1)
    refused = play.last(JobRefused)
    assert refused.reason == reason
    assert refused.sentence
    assert "{" not in refused.sentence
    assert play.all(JobAccepted) == []


def test_without_terms_nothing_is_taken() -> None:
    play = Play()
    play(gateway(), requested("j1"))
    play.after(1)
    assert play.last(JobRefused).reason == "no-terms"


def test_terms_of_an_epoch_that_has_not_begun_are_not_in_force(play: Play) -> None:
    later = terms(version=2, effective_from_epoch=1, lease_s=20)
    play(later, *joined("g1"), *joined("g2"), requested("j1"))
    assert play.last(JobAccepted).terms_hash == terms().terms_hash
    play(EpochClosing(epoch=0, ends={}, as_of=at(START_MS)))
    play(requested("j2"))
    assert play.last(JobAccepted).terms_hash == later.terms_hash
    assert play.last(JobAssigned).lease_until == at(START_MS + 20_000)


def test_a_job_follows_the_terms_under_which_it_was_accepted(play: Play) -> None:
    play(requested("j1"), terms(version=2, lease_s=99))
    play(*joined("g1"))
    assert play.last(JobAssigned).lease_until == at(START_MS + 10_000)


@pytest.mark.parametrize("missing", ["gateway", "terms"])
def test_a_request_is_not_refused_for_what_was_not_read_yet(missing: str) -> None:
    """Topics are read side by side: the job may be seen before the gateway that edge had long known."""
    play = Play()
    known, comes_late = (terms(), gateway()) if missing == "gateway" else (gateway(), terms())
    assert isinstance(known, TermsPublished) == (missing == "gateway")
    play(known, *joined("g1"), requested("j1"))
    # It says that it has read it, so that a rebuild doesn't read it again.
    assert [type(event) for event in play.published] == [ReadUpTo]
    play.take_over()
    play(comes_late)
    play.after(1)
    assert [type(event) for event in play.published] == [ReadUpTo, JobAccepted, JobAssigned, ReadUpTo]


def test_a_stranger_is_told_so_only_when_the_gateways_have_been_read_to_their_end(play: Play) -> None:
    play(requested("j1", gateway="late"))
    play.unread = frozenset({Place(REGISTRY_GATEWAYS.name, 0)})
    play.after(5)
    assert play.all(JobRefused) == []
    play.unread = frozenset()
    play.after(1)
    assert play.last(JobRefused).reason == "gateway-unknown"


def test_a_request_that_waits_for_its_gateway_can_be_taken_back(play: Play) -> None:
    play(requested("j1", gateway="late"))
    play(cancelled("j1", gateway="late").model_copy(update={"job": requested("j1", gateway="late").job}))
    assert play.last(JobRefused).reason == "cancelled"
    play(gateway("late"))
    play.after(5)
    assert play.all(JobAccepted) == []


def test_a_full_queue_refuses(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond_scheduler.rules.jobs.WAITING_JOBS_MAX", 3)
    play(*(requested(f"j{n}") for n in range(5)))
    assert len(play.all(JobAccepted)) == 3
    assert {refused.reason for refused in play.all(JobRefused)} == {"queue-full"}
    play(*joined("g1"))
    play(requested("later"))
    assert len(play.all(JobAccepted)) == 4


def test_a_request_read_after_its_deadline_is_refused(play: Play) -> None:
    play(requested("j1", deadline_s=5))
    play.after(30)
    play(requested("j2", deadline_s=5), stamp_ms=START_MS)
    assert play.last(JobRefused).reason == "deadline-passed"


def test_jobs_wait_for_a_gpu_in_the_order_in_which_they_were_accepted(play: Play) -> None:
    play(requested("j1"), requested("j2"), requested("j3"))
    play(*joined("g1"))
    play(succeeded(play.last(JobAssigned), "g1"))
    play(succeeded(play.last(JobAssigned), "g1"))
    accepted = [event.job for event in play.all(JobAccepted)]
    assert [event.job for event in play.all(JobAssigned)] == accepted


def test_a_job_that_finds_no_gpu_is_given_up_at_its_deadline(play: Play) -> None:
    play(requested("j1", deadline_s=30))
    play.after(29)
    assert play.all(JobGivenUp) == []
    play.after(2)
    given_up = play.last(JobGivenUp)
    assert (given_up.reason, given_up.attempts) == ("no-gpu-free", 0)


def test_a_waiting_job_past_its_deadline_gets_no_gpu(play: Play) -> None:
    play(requested("j1", deadline_s=5))
    play.now_ms += 6_000  # no tick has come yet
    play(*joined("g1"))
    assert play.all(JobAssigned) == []
    assert play.last(JobGivenUp).reason == "no-gpu-free"


def test_a_cancelled_job_that_waits_is_given_up(play: Play) -> None:
    play(requested("j1"))
    play(cancelled("j1"))
    assert play.last(JobGivenUp).reason == "cancelled"
    play(*joined("g1"))
    assert play.all(JobAssigned) == []


def test_a_cancelled_job_that_runs_frees_its_gpu(play: Play) -> None:
    play(*joined("g1"), requested("j1"), requested("j2"))
    first = play.last(JobAssigned)
    play(started(first, "g1"))
    closed, given_up, assigned, _ = play(cancelled("j1"))
    assert isinstance(closed, AttemptClosed)
    assert (closed.outcome, closed.reason) == ("lost", "cancelled")
    assert isinstance(given_up, JobGivenUp)
    assert (given_up.reason, given_up.attempts) == ("cancelled", 1)
    assert isinstance(assigned, JobAssigned)
    assert assigned.job == requested("j2").job
    play(succeeded(first, "g1"))
    assert play.all(JobFinished) == []


@pytest.mark.parametrize("event", [cancelled("j1", gateway="another"), cancelled("unheard-of")])
def test_nobody_takes_back_what_is_not_his(play: Play, event: object) -> None:
    play(*joined("g1"), requested("j1"))
    assert play(event) == []  # type: ignore[arg-type]


def test_a_job_that_ended_is_forgotten(play: Play) -> None:
    play(*joined("g1"), requested("j1"))
    play(succeeded(play.last(JobAssigned), "g1"))
    play(cancelled("j1"))
    assert play.board.jobs == {}
    assert play.board.attempts == {}
    assert len(play.board.due) == 0
    play(gone("g1"))
    assert play.board.standings == {}
