"""A device's word counts for the attempt that is its own, signed by its key, and for nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millpond.events.agent_claims import JobSucceeded
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned, JobFinished
from millpond.stream.decision import Received
from scheduler.play import Play
from scheduler.samples import failed, joined, key, requested, succeeded


@pytest.fixture
def assigned(play: Play) -> JobAssigned:
    play(*joined("g1"), requested("j1"))
    return play.last(JobAssigned)


def test_the_result_of_the_open_attempt_is_kept_and_finishes_the_job(play: Play, assigned: JobAssigned) -> None:
    result = succeeded(assigned, "g1")
    closed, finished, _ = play(result)
    assert isinstance(closed, AttemptClosed)
    assert (closed.outcome, closed.result, closed.attempt) == ("kept", result.payload_hash, 1)
    assert isinstance(finished, JobFinished)
    assert finished.outputs == result.claim.outputs
    assert finished.gateway == "acme"


def test_the_same_result_twice_counts_once(play: Play, assigned: JobAssigned) -> None:
    play(succeeded(assigned, "g1"), succeeded(assigned, "g1"))
    assert len(play.all(JobFinished)) == 1


FORGED: dict[str, Callable[[JobAssigned], JobSucceeded]] = {
    "another's signature": lambda a: succeeded(a, "g1").model_copy(update={"signature": succeeded(a, "g2").signature}),
    "another device": lambda a: succeeded(a, "g2"),
    "another device under its name": lambda a: succeeded(a, "g2").model_copy(update={"device": a.device}),
    "another attempt": lambda a: succeeded(a.model_copy(update={"attempt": 2}), "g1"),
    "another lease": lambda a: succeeded(a.model_copy(update={"lease": a.job}), "g1"),
    "another job": lambda a: succeeded(a.model_copy(update={"job": requested("x").job}), "g1"),
    "changed text": lambda a: succeeded(a, "g1").model_copy(
        update={"payload": succeeded(a, "g1").payload.replace('"frames":1', '"frames":9')}
    ),
    "no claim": lambda a: _signed("{}"),
    "no JSON": lambda a: _signed("x"),
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
def test_what_is_not_the_open_attempts_own_signed_word_changes_nothing(
    play: Play, assigned: JobAssigned, forged: Callable[[JobAssigned], JobSucceeded]
) -> None:
    play(*joined("g2"))
    event = forged(assigned)
    if event.payload in ("{}", "x"):
        # It has no key of its own: edge would let nobody send it.
        received = play._received(succeeded(assigned, "g1"), None)
        assert play._transaction([_with(received, event)]) == []
    else:
        assert play(event) == []
    play(succeeded(assigned, "g1"))
    assert play.last(JobFinished).attempt == 1


def test_a_claim_for_another_pool_does_not_count(play: Play, assigned: JobAssigned) -> None:
    genuine = succeeded(assigned, "g1")
    signature = key("d-g1").sign(pool="another", kind="JobSucceeded", text=genuine.payload)
    assert play(genuine.model_copy(update={"signature": signature})) == []


@pytest.mark.parametrize("names", [("240p", "360p"), ("360p",), ("360p", "240p", "144p"), ("360p", "360p")])
def test_a_result_with_other_renditions_than_asked_for_is_lost(
    play: Play, assigned: JobAssigned, names: tuple[str, ...]
) -> None:
    play(*joined("g2"))
    play(succeeded(assigned, "g1", names))
    assert play.last(AttemptClosed).reason == "outputs-differ"
    assert play.last(JobAssigned).attempt == 2
    assert play.all(JobFinished) == []


def test_a_failure_that_is_not_its_own_changes_nothing(play: Play, assigned: JobAssigned) -> None:
    play(*joined("g2"))
    assert play(failed(assigned, "g2")) == []


def _signed(text: str) -> JobSucceeded:
    return JobSucceeded(
        device=key("d-g1").device,
        payload=text,
        signature=key("d-g1").sign(pool="pond", kind="JobSucceeded", text=text),
    )


def _with(received: Received, event: JobSucceeded) -> Received:
    return received._replace(event=event)
