"""Who is let in, who isn't, and what is said in the face of the door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from edge.agents.device import Device, Socket, compact, connected, welcomed
from edge.pool import CONTRIBUTOR, PoolLog, RunningEdge, running_edge
from millpond.events.registry_members import ContributorSuspended, DeviceRemoved
from millpond.events.topics import REGISTRY_MEMBERS
from millpond_edge.agents import router as module

REMOVED = {"reason": "revoked", "sentence": "The wallet has revoked it."}


async def refused(edge: RunningEdge, who: Device, **changes: object) -> str:
    """The reason for which the greeting is refused; that is all edge says, and it closes the connection."""
    async with connected(edge.url) as (socket, nonce):
        await socket.send(who.hello(nonce, **changes))
        code, heard = await socket.closed()
    assert [message["type"] for message in heard] == ["Refused"]
    assert heard[0]["sequence"] is None
    assert heard[0]["sentence"]
    assert code == 4401
    return str(heard[0]["reason"])


async def test_a_registered_device_is_welcome(edge: RunningEdge) -> None:
    device = Device()
    edge.log.register(device.id)
    await edge.settled()
    async with welcomed(edge.url, device) as (_, welcome):
        assert welcome["last_accepted"] == 0
        assert welcome["assignments"] == []
        assert welcome["time"].endswith("Z")


async def test_whoever_may_not_work_is_told_why(edge: RunningEdge) -> None:
    device, contributor = Device(), CONTRIBUTOR
    assert await refused(edge, device) == "device-unknown"
    edge.log.register(device.id)
    edge.log.say(REGISTRY_MEMBERS, contributor, DeviceRemoved(contributor=contributor, device=device.id, **REMOVED))
    await edge.settled()
    assert await refused(edge, device) == "device-removed"
    edge.log.register(device.id, expires_in_s=60)
    await edge.settled()
    edge.ahead_ms[0] = 61_000
    assert await refused(edge, device) == "delegation-expired"
    edge.ahead_ms[0] = 0
    suspended = ContributorSuspended(contributor=contributor, reason="by-operator", sentence="For looking twice.")
    edge.log.say(REGISTRY_MEMBERS, contributor, suspended)
    await edge.settled()
    assert await refused(edge, device) == "contributor-suspended"


async def test_a_greeting_opens_nothing_without_the_key(edge: RunningEdge) -> None:
    device, stranger = Device(), Device(b"s" * 32)
    edge.log.register(device.id)
    await edge.settled()
    assert await refused(edge, stranger, device=device.id) == "signature-wrong"
    assert await refused(edge, device, session=stranger.session) == "signature-wrong"
    assert await refused(edge, Device(pool="puddle")) == "signature-wrong"
    assert await refused(edge, device, signature="0x00") == "hello-malformed"
    assert await refused(edge, device, device=device.id.upper()) == "hello-malformed"


async def test_a_greeting_that_was_recorded_opens_nothing(edge: RunningEdge) -> None:
    device = Device()
    edge.log.register(device.id)
    await edge.settled()
    async with connected(edge.url) as (socket, nonce):
        recorded = device.hello(nonce)
        assert (await socket.ask(recorded))["type"] == "Welcome"
    async with connected(edge.url) as (socket, _):
        assert (await socket.ask(recorded))["reason"] == "signature-wrong"


@pytest.mark.parametrize(
    "text", ["", "{}", "null", b"\x00", compact({"type": "Hello"}), "[" * 10_000, '{"a":"\\ud800"}']
)
async def test_what_is_no_greeting_is_refused(edge: RunningEdge, text: str | bytes) -> None:
    async with connected(edge.url) as (socket, _):
        assert (await socket.ask(text))["reason"] == "hello-malformed"


async def test_who_does_not_greet_is_sent_away(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GREETING_S", 0.1)
    async with connected(edge.url) as (socket, _):
        code, heard = await socket.closed()
    assert (code, heard[0]["reason"]) == (4401, "greeting-late")


async def test_who_hangs_up_before_greeting_is_forgotten(edge: RunningEdge) -> None:
    async with connected(edge.url):
        pass
    assert (await edge.http.get("/jobs/x")).status_code == 401


async def test_an_edge_that_does_not_know_the_pool_yet_lets_nobody_in(tmp_path: Path) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    async with running_edge(tmp_path, log, opened=False) as edge:
        async with connect(edge.url.replace("http", "ws") + "/agents") as connection:
            code, heard = await Socket(connection).closed()
        assert (code, heard[0]["type"], heard[0]["reason"]) == (1013, "Refused", "starting")
        await edge.settled()
        edge.door.view.caught_up.set()
        async with welcomed(edge.url, device):
            pass


async def test_an_edge_that_stops_sends_its_agents_away_at_once(edge: RunningEdge) -> None:
    device = Device()
    edge.log.register(device.id)
    await edge.settled()
    async with welcomed(edge.url, device) as (socket, _):
        edge.door.stopping.set()
        async with asyncio.timeout(1):
            assert await socket.closed() == (1012, [])
    async with connect(edge.url.replace("http", "ws") + "/agents") as connection:
        code, heard = await Socket(connection).closed()
    assert (code, heard[0]["reason"]) == (1013, "stopping")
