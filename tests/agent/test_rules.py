"""The agent's rules: what it begins, what it declines, when it knocks again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.samples import DEVICE, assigned
from millpond_agent.rules import (
    RECONNECT_MAX_S,
    Decline,
    Pass,
    Running,
    State,
    Take,
    failures_in_a_row,
    inventory_is_due,
    is_final,
    knocks_again,
    on_assignment,
    on_cancel,
    reconnect_s,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
JOB = assigned("wanted", now=NOW)


def state(**changes: Any) -> State:
    return State(**{"device": DEVICE, "slots": {"software": 1}, "running": {}, **changes})


def on(state: State, *, ended: bool = False, now: datetime = NOW) -> str:
    match on_assignment(state, JOB, ended=ended, now=now):
        case Decline(reason=reason, sentence=sentence):
            assert sentence.endswith(".")
            return reason
        case Take():
            return "take"
        case Pass():
            return "pass"


def test_a_job_for_a_free_slot_is_taken_also_if_nobody_remembers_having_run_it() -> None:
    assert on(state()) == "take"


def test_an_assignment_that_is_repeated_is_not_begun_twice() -> None:
    running = {JOB.lease: Running(JOB.job, JOB.attempt, "software")}
    assert on(state(running=running, slots={"software": 2})) == "pass"


def test_an_assignment_that_ended_is_not_begun_again_even_if_it_could_be_declined() -> None:
    assert on(state(leaving=True), ended=True) == "pass"


def test_a_stranger_s_assignment_is_nobody_s_business() -> None:
    assert on(state(device="0x" + "99" * 32)) == "pass"


@pytest.mark.parametrize(
    ("changes", "now", "reason"),
    [
        ({}, JOB.deadline_at, "deadline-passed"),
        ({"leaving": True}, NOW, "leaving"),
        ({"slots": {}}, NOW, "gpu-away"),
        ({"running": {"other": Running("other", 1, "software")}}, NOW, "no-slot"),
    ],
)
def test_what_can_t_be_done_is_declined_with_a_reason(changes: dict[str, Any], now: datetime, reason: str) -> None:
    assert on(state(**changes), now=now) == reason


def test_a_job_begins_until_the_very_last_moment_before_its_deadline() -> None:
    assert on(state(), now=JOB.deadline_at - timedelta(milliseconds=1)) == "take"


@given(slots=st.integers(1, 8), others=st.integers(0, 12), elsewhere=st.integers(0, 4))
def test_a_gpu_never_runs_more_than_its_slots(slots: int, others: int, elsewhere: int) -> None:
    here = {f"here-{n}": Running(str(n), 1, "software") for n in range(others)}
    there = {f"there-{n}": Running(str(n), 1, "GPU-1") for n in range(elsewhere)}
    taken = on(state(slots={"software": slots, "GPU-1": 4}, running={**here, **there}))
    assert (taken == "take") == (others < slots)


def test_a_cancellation_means_one_attempt_and_no_other() -> None:
    running = {"lease-1": Running("job", 1, "software"), "lease-2": Running("job", 2, "software")}
    assert on_cancel(state(running=running), job="job", attempt=2) == "lease-2"
    assert on_cancel(state(running=running), job="job", attempt=3) is None


def test_a_claim_that_edge_takes_later_is_kept_and_one_that_it_never_takes_is_not() -> None:
    assert not is_final("not-acknowledged")
    assert not is_final("rate-exceeded")
    assert is_final("lease-foreign")


@pytest.mark.parametrize(
    ("reason", "was_welcome", "again"),
    [
        ("device-waiting", False, True),
        ("starting", False, True),
        ("contributor-suspended", True, True),
        ("device-unknown", True, True),
        ("device-unknown", False, False),
        ("device-removed", True, False),
        ("delegation-expired", True, False),
        ("contributor-left", True, False),
    ],
)
def test_a_machine_that_is_turned_away_waits_only_where_waiting_helps(
    reason: str, was_welcome: bool, again: bool
) -> None:
    assert knocks_again(reason, was_welcome=was_welcome) == again


@given(failures=st.integers(0, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_the_wait_before_the_next_try_is_bounded_and_never_nothing(failures: int, chance: float) -> None:
    assert 0.1 <= reconnect_s(failures, chance=chance) <= RECONNECT_MAX_S


def test_machines_that_lost_the_same_edge_do_not_come_back_at_once() -> None:
    waits = {reconnect_s(6, chance=chance / 10) for chance in range(10)}
    assert len(waits) == 10


def test_a_pool_that_lets_us_in_and_breaks_off_is_tried_again_soon_and_one_that_is_away_ever_more_slowly() -> None:
    flapping = away = 0
    for _ in range(10):
        flapping, away = failures_in_a_row(flapping, welcome_s=1.0), failures_in_a_row(away, welcome_s=None)
    assert reconnect_s(flapping, chance=0.999) < 2
    assert reconnect_s(away, chance=0.999) > 9
    assert reconnect_s(failures_in_a_row(away, welcome_s=None, is_soon=True), chance=0.999) < 2
    assert failures_in_a_row(away, welcome_s=60.0) == 0


def test_the_inventory_is_told_first_when_it_changes_and_hourly() -> None:
    assert inventory_is_due(told_at=None, changed=False, now=NOW)
    assert inventory_is_due(told_at=NOW, changed=True, now=NOW)
    assert not inventory_is_due(told_at=NOW, changed=False, now=NOW + timedelta(minutes=59))
    assert inventory_is_due(told_at=NOW, changed=False, now=NOW + timedelta(minutes=60))
