"""The demo says that all is well only if the topics do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from millpond.events.ids import gpu_id, job_id, lease_id, line_id
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import AgreedPrice, AttemptClosed
from millpond_demo.contributors import Machine
from millpond_demo.keys import Wallet
from millpond_demo.ledger import Ledger, Money
from millpond_demo.summary import NotExactlyOnce, as_json, sum_up
from millpond_demo.watch import Seen

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ADA, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20
MACHINES = [
    Machine(name, Wallet(owner, Path("k"), Path("p")), Path(name), device="0x" + mark * 32)
    for name, owner, mark in (("ada-1", ADA, "01"), ("ada-2", ADA, "02"), ("bob-1", BOB, "03"))
]


def line(job: str, machine: Machine, attempt: int = 1, **changes: Any) -> UsageRecorded:
    return UsageRecorded(
        line=line_id(job, attempt, 0),
        job=job,
        attempt=attempt,
        window=0,
        contributor=machine.owner.address,
        device=machine.device,
        gpu=gpu_id(machine.device, "software"),
        gateway="demo-gateway",
        workload="transcode",
        unit="pixel",
        quantity=1_000,
        claimed=1_000,
        counted=1_000,
        price=AgreedPrice(unit="pixel", wei=1, per_units=1),
        terms_hash="0x" + "7e" * 32,
        result="0x" + "5e" * 32,
        sources=(),
        receipt="0x" + "ec" * 64,
        **changes,
    )


def closed(job: str, machine: Machine, attempt: int, outcome: Any) -> AttemptClosed:
    return AttemptClosed(
        job=job,
        attempt=attempt,
        lease=lease_id(job, attempt),
        gpu=gpu_id(machine.device, "software"),
        device=machine.device,
        contributor=machine.owner.address,
        outcome=outcome,
        reason="done",
        sentence="Done.",
        as_of=NOW,
    )


def seen_of(*jobs: tuple[str, Machine]) -> Seen:
    seen = Seen()
    for job, machine in jobs:
        seen.requested.add(job)
        seen.finished.add(job)
        seen.closed[job, 1] = closed(job, machine, 1, "kept")
        seen.lines.append(line(job, machine))
    return seen


ONE, TWO = job_id("demo-gateway", "1"), job_id("demo-gateway", "2")


def test_each_contributor_has_the_jobs_and_pixels_of_all_his_machines() -> None:
    summary = sum_up(seen_of((ONE, MACHINES[0]), (TWO, MACHINES[2])), MACHINES)
    document = json.loads(as_json(summary, Money(100, 90, 10, 0, 5, "0x" + "07" * 32), Ledger()))
    assert document["jobs"] == {"requested": 2, "succeeded": 2, "reassigned": 0}
    assert (document["pixels"], document["usage_lines"]) == (2_000, 2)
    unpaid = {"jobs": 1, "pixels": 1_000, "wei": "0", "payout_tx": None, "status": "nothing-to-pay"}
    assert document["contributors"] == {ADA: {"devices": 2, **unpaid}, BOB: {"devices": 1, **unpaid}}
    # Amounts are text: a JSON number may pass through somebody's float.
    assert (document["revenue_wei"], document["operator_wei"], document["carried_wei"]) == ("100", "10", "0")


def test_a_job_that_was_lost_once_and_kept_once_is_well() -> None:
    seen = seen_of((ONE, MACHINES[0]))
    seen.closed[ONE, 2] = closed(ONE, MACHINES[1], 2, "lost")
    assert sum_up(seen, MACHINES).succeeded == 1


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda seen: seen.finished.clear(), "not finished"),
        (lambda seen: seen.closed.clear(), "0 kept attempts"),
        (lambda seen: seen.closed.update({(ONE, 2): closed(ONE, MACHINES[1], 2, "kept")}), "2 kept attempts"),
        (lambda seen: seen.lines.clear(), "0 usage lines"),
        (lambda seen: seen.lines.append(line(ONE, MACHINES[0])), "2 usage lines"),
        (lambda seen: seen.lines.append(line(TWO, MACHINES[0])), "nobody asked for"),
    ],
)
def test_anything_else_is_told(spoil: Any, problem: str) -> None:
    seen = seen_of((ONE, MACHINES[0]))
    spoil(seen)
    with pytest.raises(NotExactlyOnce, match=problem):
        sum_up(seen, MACHINES)


def test_a_held_line_is_told_with_its_sentence() -> None:
    seen = seen_of((ONE, MACHINES[0]))
    values = seen.lines.pop().model_dump() | {"reason": "count-differs", "sentence": "Counted less than claimed."}
    seen.lines.append(UsageHeld(**values))
    with pytest.raises(NotExactlyOnce, match="Counted less than claimed"):
        sum_up(seen, MACHINES)
