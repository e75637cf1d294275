"""What an agent says reaches the topics as it was signed, stamped, in order, and is acknowledged once it is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from edge.agents.device import JOB, Device, welcomed
from edge.pool import CONTRIBUTOR, WITHIN_S, DeadPublisher, PoolLog, RunningEdge, running_edge
from millpond.events.ids import job_id
from millpond.events.registry_members import DeviceRemoved
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS, REGISTRY_MEMBERS
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryPublisher
from millpond.stream.record import ITEM, Place
from millpond_edge.agents import lanes, link


@pytest.fixture
async def device(edge: RunningEdge) -> Device:
    """A registered one."""
    device = Device()
    edge.log.register(device.id)
    await edge.settled()
    return device


class HeldPublisher(MemoryPublisher):
    """A broker that acknowledges when it is let."""

    def __init__(self, log: PoolLog) -> None:
        super().__init__(log)
        self.let = asyncio.Event()

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        await self.let.wait()
        return await super().send(place, records)


async def test_a_claim_is_carried_verbatim_and_stamped_on_arrival(edge: RunningEdge, device: Device) -> None:
    edge.ahead_ms[0] = 5_000
    payload = device.payload(loads=[], version="0.1")
    text = device.signed("Heartbeat", payload)
    async with welcomed(edge.url, device) as (socket, _):
        before_ms = edge.door.clock.now_ms()
        assert await socket.ask(text) == {"type": "Accepted", "sequence": 1}
    (record,) = edge.log.records(AGENT_HEARTBEATS)
    assert record.key == device.id.encode()
    assert json.loads(record.value or b"") == {
        "device": device.id,
        "payload": payload,
        "signature": json.loads(text)["signature"],
    }
    assert record.header(ITEM) == f"{device.id}/{device.session}/1".encode()
    assert record.header("ce_type") == b"Heartbeat"
    assert 0 <= record.timestamp_ms - before_ms < WITHIN_S * 1_000


async def test_each_claim_has_its_topic_and_key(edge: RunningEdge, device: Device) -> None:
    output = {"rendition": "240p", "blob": {"hash": "0x" + "b0" * 32, "size_bytes": 9}, "frames": 1, "pixels": 2}
    texts = [
        device.started(),
        device.signed("JobProgress", device.attempt(frames=3)),
        device.signed("JobFailed", device.attempt(reason="crashed", sentence="Es ist vorbei — 終わり.")),
        device.signed("JobSucceeded", device.attempt(outputs=[output])),
    ]
    async with welcomed(edge.url, device) as (socket, _):
        await socket.send(*texts)
        assert sorted([(await socket.hear())["sequence"] for _ in texts]) == [1, 2, 3, 4]
    results = edge.log.records(AGENT_RESULTS)
    assert [record.header("ce_type") for record in results] == [b"JobStarted", b"JobFailed", b"JobSucceeded"]
    assert {record.key for record in [*results, *edge.log.records(AGENT_PROGRESS)]} == {JOB.encode()}


async def test_nothing_is_accepted_before_kafka_has_it_and_nothing_waits_for_the_answer(tmp_path: Path) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    publisher = HeldPublisher(log)
    async with running_edge(tmp_path, log, publisher=publisher) as edge, welcomed(edge.url, device) as (socket, _):
        for n in range(100):
            await socket.send(device.started(job_id("acme", str(n % 7))))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await socket.hear()
        publisher.let.set()
        assert sorted([(await socket.hear())["sequence"] for _ in range(100)]) == list(range(1, 101))
    by_job: dict[Any, list[int]] = {}
    for record in log.records(AGENT_RESULTS):
        sequence = json.loads(json.loads(record.value or b"")["payload"])["sequence"]
        by_job.setdefault(record.key, []).append(sequence)
    assert sum(map(len, by_job.values())) == 100
    assert all(sequences == sorted(sequences) for sequences in by_job.values())


async def test_what_kafka_does_not_take_is_refused_and_nothing_overtakes_it(tmp_path: Path) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    publisher = HeldPublisher(log)
    async with running_edge(tmp_path, log, publisher=publisher, patience_s=0.3) as edge:
        async with welcomed(edge.url, device) as (socket, _):
            await socket.send(device.started())
            await asyncio.sleep(0.1)
            await socket.send(device.started(attempt=2))
            code, heard = await socket.closed()
        assert code == 1013
        assert [(each["type"], each["sequence"], each["reason"]) for each in heard] == [
            ("Refused", 1, "not-acknowledged"),
            ("Refused", 2, "not-acknowledged"),
        ]
        assert log.records(AGENT_RESULTS) == []
        publisher.let.set()
        async with welcomed(edge.url, device) as (socket, welcome):
            assert welcome["last_accepted"] == 0
            assert (await socket.ask(device.started()))["type"] == "Accepted"


async def test_a_heartbeat_that_kafka_does_not_take_breaks_nothing(tmp_path: Path) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    async with (
        running_edge(tmp_path, log, publisher=DeadPublisher(), patience_s=0.1) as edge,
        welcomed(edge.url, device) as (socket, _),
    ):
        for sequence in (1, 2):
            answer = await socket.ask(device.heartbeat())
            assert (answer["type"], answer["sequence"], answer["reason"]) == ("Refused", sequence, "not-acknowledged")


async def test_what_was_heard_is_carried_though_the_agent_hangs_up(edge: RunningEdge, device: Device) -> None:
    async with welcomed(edge.url, device) as (socket, _):
        await socket.send(device.heartbeat(leaving=True))
    async with asyncio.timeout(WITHIN_S):
        while not edge.log.records(AGENT_HEARTBEATS):  # noqa: ASYNC110  # the log has no event for that
            await asyncio.sleep(0.01)


async def test_a_bad_claim_is_refused_with_its_number_and_the_next_one_taken(edge: RunningEdge, device: Device) -> None:
    other = Device(b"o" * 32)
    bad = {
        "signature-wrong": other.signed("Heartbeat", device.payload()),
        "type-unknown": device.signed("JobPaid", device.payload()),
        "claim-malformed": device.signed("JobProgress", device.attempt(frames=-1)),
        "not-canonical": device.signed("Heartbeat", device.payload().replace(",", ", ", 1)),
        "session-differs": device.signed("Heartbeat", device.payload(session=other.session)),
    }
    async with welcomed(edge.url, device) as (socket, _):
        for sequence, (reason, text) in enumerate(bad.items(), 1):
            answer = await socket.ask(text)
            assert (answer["type"], answer["sequence"], answer["reason"]) == ("Refused", sequence, reason)
            assert answer["sentence"]
        assert await socket.ask(device.heartbeat()) == {"type": "Accepted", "sequence": 6}
    assert len(edge.log.records(AGENT_HEARTBEATS)) == 1


@pytest.mark.parametrize("text", ["", "{", b"\x00\x01", '{"type":"Heartbeat"}', "[" * 100_000, '"Heartbeat"'])
async def test_what_can_not_be_read_ends_the_connection(edge: RunningEdge, device: Device, text: str | bytes) -> None:
    async with welcomed(edge.url, device) as (socket, _):
        await socket.send(text, device.heartbeat())
        code, heard = await socket.closed()
    assert (code, [(each["reason"], each["sequence"]) for each in heard]) == (4400, [("message-malformed", None)])
    assert edge.log.records(AGENT_HEARTBEATS) == []


async def test_a_message_beyond_all_measure_ends_the_connection(edge: RunningEdge, device: Device) -> None:
    async with welcomed(edge.url, device) as (socket, _):
        await socket.send("x" * 2_000_000)
        assert (await socket.closed())[0] == 1009


async def test_a_device_that_is_removed_hears_it_at_once_and_is_heard_no_more(
    edge: RunningEdge, device: Device
) -> None:
    other = Device(b"o" * 32)
    edge.log.register(other.id)
    await edge.settled()
    removed = DeviceRemoved(contributor=CONTRIBUTOR, device=device.id, reason="revoked", sentence="Revoked.")
    async with welcomed(edge.url, device) as (socket, _), welcomed(edge.url, other) as (others, _):
        edge.log.say(REGISTRY_MEMBERS, CONTRIBUTOR, removed)
        code, heard = await socket.closed()
        assert (code, heard[0]["reason"], heard[0]["sequence"]) == (4401, "device-removed", None)
        assert (await others.ask(other.heartbeat()))["type"] == "Accepted"


async def test_a_delegation_that_expires_in_mid_connection_ends_it_with_the_next_word(
    edge: RunningEdge, device: Device
) -> None:
    async with welcomed(edge.url, device) as (socket, _):
        edge.ahead_ms[0] = 3_601_000
        await socket.send(device.heartbeat(), device.heartbeat())
        code, heard = await socket.closed()
    assert (code, [each["reason"] for each in heard]) == (4401, ["delegation-expired"])
    assert edge.log.records(AGENT_HEARTBEATS) == []


async def test_an_agent_that_says_too_much_is_heard_more_slowly_and_completely(tmp_path: Path) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    settings = {"requests_per_s": 50, "requests_burst": 10}
    async with running_edge(tmp_path, log, settings=settings) as edge, welcomed(edge.url, device) as (socket, _):
        began = asyncio.get_running_loop().time()
        for _ in range(30):
            await socket.send(device.heartbeat())
        assert [(await socket.hear())["sequence"] for _ in range(30)] == list(range(1, 31))
        assert asyncio.get_running_loop().time() - began >= 0.3


async def test_an_agent_that_does_not_read_is_sent_away(
    edge: RunningEdge, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "OUTGOING_MAX", 100)
    monkeypatch.setattr(link, "GOODBYE_S", 0.1)
    # With this, the client stops reading from its socket as soon as one message waits in it.
    async with welcomed(edge.url, device, max_queue=1) as (socket, _):
        refused = device.signed("N" * 60, '{"sequence":1}')
        async with asyncio.timeout(WITHIN_S):
            with suppress(ConnectionClosed):
                while True:
                    await socket.send(refused)


async def test_many_claims_under_way_wait_for_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "UNDER_WAY_MAX", 5)
    log, device = PoolLog(), Device()
    log.register(device.id)
    publisher = HeldPublisher(log)
    async with running_edge(tmp_path, log, publisher=publisher) as edge, welcomed(edge.url, device) as (socket, _):
        await socket.send(*[device.started(job_id("acme", str(n))) for n in range(50)])
        await asyncio.sleep(0.1)
        publisher.let.set()
        assert sorted([(await socket.hear())["sequence"] for _ in range(50)]) == list(range(1, 51))
