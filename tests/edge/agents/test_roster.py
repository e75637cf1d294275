"""What the topics have for an agent, it hears, also when it was away; and a device has one connection."""

from __future__ import annotations

import json

import pytest

from edge.agents.device import Device, Message, connected, welcomed
from edge.pool import RunningEdge
from edge.work import accept, assign, close, finish, record_usage
from millpond.events.metering_usage import UsageRecorded
from millpond_agent.messages import FROM_EDGE, Assignment
from millpond_edge.view.usage import LINES_PER_DEVICE_MAX


@pytest.fixture
async def device(edge: RunningEdge) -> Device:
    """A registered one."""
    device = Device()
    edge.log.register(device.id)
    await edge.settled()
    return device


def receipt(line: UsageRecorded) -> Message:
    return {"type": "Receipt", "receipt": {"type": "UsageRecorded", "event": line.model_dump(mode="json")}}


async def test_an_assignment_reaches_the_agent_as_the_scheduler_wrote_it(edge: RunningEdge, device: Device) -> None:
    job = accept(edge.log)
    async with welcomed(edge.url, device) as (socket, _):
        assigned = assign(edge.log, job, device.id)
        heard = await socket.hear()
    assert heard == {"type": "Assignment", **assigned.model_dump(mode="json")}
    assert isinstance(FROM_EDGE.validate_json(json.dumps(heard)), Assignment)


async def test_what_is_open_stands_in_the_welcome_and_what_is_closed_does_not(
    edge: RunningEdge, device: Device
) -> None:
    jobs = [accept(edge.log, name) for name in "abcd"]
    first, second, third, fourth = [assign(edge.log, job, device.id) for job in jobs]
    close(edge.log, first, lost=True)
    close(edge.log, second, lost=False)
    finish(edge.log, second)
    moved = assign(edge.log, jobs[0], Device(b"o" * 32).id, attempt=2)
    await edge.settled()
    async with welcomed(edge.url, device) as (_, welcome):
        assert {assigned["job"] for assigned in welcome["assignments"]} == {third.job, fourth.job}
    assert edge.door.jobs.open_assignments(moved.device) == (moved,)


async def test_a_lost_attempt_is_cancelled_and_a_kept_one_is_not(edge: RunningEdge, device: Device) -> None:
    lost, kept = [assign(edge.log, accept(edge.log, name), device.id) for name in "ab"]
    await edge.settled()
    async with welcomed(edge.url, device) as (socket, _):
        close(edge.log, kept, lost=False)
        finish(edge.log, kept)
        close(edge.log, lost, lost=True)
        heard = await socket.hear()
    assert heard == {"type": "Cancel", "job": lost.job, "attempt": 1, "reason": "lease-ended"}


async def test_an_agent_that_was_away_when_its_attempt_was_lost_hears_it_with_its_next_word_about_it(
    edge: RunningEdge, device: Device
) -> None:
    lost = assign(edge.log, accept(edge.log), device.id)
    close(edge.log, lost, lost=True)
    unknown = assign(edge.log, accept(edge.log, "b"), device.id)
    await edge.settled()
    async with welcomed(edge.url, device) as (socket, _):
        for claimed, attempt in ((lost, 1), (unknown, 1), (unknown, 2)):
            await socket.send(device.signed("JobProgress", device.attempt(claimed.job, attempt, frames=1)))
        heard = [await socket.hear() for _ in range(4)]
    assert [each for each in heard if each["type"] == "Cancel"] == [
        {"type": "Cancel", "job": lost.job, "attempt": 1, "reason": "attempt-closed"}
    ]


async def test_a_usage_line_is_a_receipt_at_once_and_again_at_the_next_welcome(
    edge: RunningEdge, device: Device
) -> None:
    assigned = assign(edge.log, accept(edge.log), device.id)
    async with welcomed(edge.url, device) as (socket, _):
        line = record_usage(edge.log, assigned)
        assert await socket.hear() == receipt(line)
    async with welcomed(edge.url, device) as (socket, _):
        assert await socket.hear() == receipt(line)


async def test_of_many_lines_the_last_come_again(edge: RunningEdge, device: Device) -> None:
    lines = [
        record_usage(edge.log, assign(edge.log, accept(edge.log, str(n)), device.id))
        for n in range(LINES_PER_DEVICE_MAX + 1)
    ]
    await edge.settled()
    async with welcomed(edge.url, device) as (socket, _):
        heard = [(await socket.hear())["receipt"]["event"]["line"] for _ in range(LINES_PER_DEVICE_MAX)]
    assert heard == [line.line for line in lines[1:]]


async def test_a_newer_connection_takes_the_place_of_the_older(edge: RunningEdge, device: Device) -> None:
    async with welcomed(edge.url, device) as (older, _):
        await older.send(device.heartbeat())
        assert (await older.hear())["sequence"] == 1
        async with welcomed(edge.url, device) as (newer, _):
            assert await older.closed() == (4409, [])
            assign(edge.log, accept(edge.log), device.id)
            assert (await newer.hear())["type"] == "Assignment"


async def test_a_connection_that_only_claims_to_be_the_device_replaces_nothing(
    edge: RunningEdge, device: Device
) -> None:
    async with welcomed(edge.url, device) as (socket, _), connected(edge.url) as (other, nonce):
        stranger = Device(b"s" * 32)
        assert (await other.ask(stranger.hello(nonce, device=device.id)))["type"] == "Refused"
        assert (await socket.ask(device.heartbeat()))["type"] == "Accepted"
