"""Incident 38, `golivepeer-recycled-task-id`, metering's part: who is paid for which answer.

A result counts only for the attempt that the scheduler kept, of that device, under that lease; the scheduler's part stands
in ``tests/incidents/test_golivepeer_recycled_task_id.py``.
"""

from __future__ import annotations

import random

import pytest

from metering.samples import (
    CONTRIBUTOR,
    DEVICE,
    OTHER_DEVICE,
    PIXELS,
    Story,
    Topics,
    claim,
    kept,
    lines,
    looks,
    signed,
    story,
)
from millpond.events.agent_claims import JobSucceeded
from millpond.events.metering_usage import UsageHeld
from millpond.identity import DeviceKey
from millpond.stream.decision import Received

SEED = 38
A, B, C = OTHER_DEVICE, DeviceKey(b"\x03" * 32), DEVICE
J1, J2 = story("j1"), story("j2")


def told() -> list[Received]:
    """J1 was A's (lost), then B's; J2 is C's. A answers J1, B answers J2 with the right ids, C answers J2."""
    first = signed(claim(J1.job, attempt=1).model_dump_json(), device=A)
    foreign = signed(claim(J2.job, sequence=5).model_dump_json(), device=B)
    lost = kept(J1.job, first, device=A.device).model_copy(update={"outcome": "lost", "result": None})
    second = J2.but(observations=(*looks(foreign), *J2.observations))
    topics = Topics()
    received = [topics.put(event, J1.job) for event in (J1.accepted, lost, first, *looks(first))]
    received.append(topics.put(foreign, J2.job))
    return received + topics.put_all([second])


class NaiveCounter:
    """What the source did: the number of the task is all that is matched; the first answer is paid."""

    def __init__(self) -> None:
        self.paid: dict[str, str] = {}

    def take(self, result: JobSucceeded) -> None:
        self.paid.setdefault(result.claim.job, result.device)


def test_only_the_device_whose_attempt_was_kept_is_counted() -> None:
    received = told()
    for _ in range(20):
        (line,) = lines(received)
        assert (line.job, line.device, line.quantity) == (J2.job, C.device, PIXELS)
        random.Random(SEED).shuffle(received)


@pytest.mark.parametrize("wrong", ["job", "attempt", "lease", "signer"])
def test_what_is_signed_for_something_else_counts_nothing_even_if_it_was_kept(wrong: str) -> None:
    facts = {"attempt": {"attempt": 2}, "lease": {"lease": J1.kept.lease}, "job": {}, "signer": {}}[wrong]
    payload = claim(J1.job if wrong == "job" else J2.job, **facts).model_dump_json()
    result = signed(payload, device=C, by=B if wrong == "signer" else None)
    forged: Story = J2.but(result=result, kept=kept(J2.job, result), observations=looks(result))
    (line,) = lines(Topics().put_all([forged]))
    assert isinstance(line, UsageHeld)
    assert (line.contributor, line.quantity) == (CONTRIBUTOR, 0)


def test_the_wrong_one_is_paid_where_a_number_is_all_that_is_matched() -> None:
    counter = NaiveCounter()
    for each in told():
        if isinstance(each.event, JobSucceeded):
            counter.take(each.event)
    assert counter.paid == {J1.job: A.device, J2.job: B.device}, "A's lost attempt is paid, and B for C's job"
