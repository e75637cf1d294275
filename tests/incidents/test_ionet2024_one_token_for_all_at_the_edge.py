"""Incident 40, `ionet2024-one-token-for-all`, edge's half: whose key signs is who speaks, and nothing else says so.

One token was valid on every GPU and the owner was read from a header: strangers renamed other people's devices. Here B, a
valid device of another contributor, speaks in A's name in every way there is; A's records are byte-equal afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from edge.agents.device import Device, compact, connected, welcomed
from edge.conftest import edge as edge  # a fixture
from edge.pool import CONTRIBUTOR, RunningEdge
from millpond.events.agent_claims import Heartbeat, claim_item
from millpond.events.registry_members import DeviceRemoved
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_RESULTS, REGISTRY_MEMBERS
from millpond.stream.record import ITEM, Record
from millpond_edge.agents import link
from millpond_edge.agents.messages import Said
from millpond_edge.agents.rules import Carry, Refuse, Speaker, hear

BOBS_CONTRIBUTOR = "0x" + "b0" * 20


def alice() -> Device:
    return Device(b"a" * 32)


def bob() -> Device:
    return Device(b"b" * 32)


def of(edge: RunningEdge, device: Device) -> list[Record]:
    """The records in that device's name, under its key or as its items."""
    records = [*edge.log.records(AGENT_HEARTBEATS), *edge.log.records(AGENT_RESULTS)]
    return [
        record
        for record in records
        if json.loads(record.value or b"")["device"] == device.id
        or (record.header(ITEM) or b"").startswith(device.id.encode())
        or record.key == device.id.encode()
    ]


async def in_alices_name(edge: RunningEdge) -> list[str]:
    """Bob tries; returns which of his tries have left something in Alice's name, or taken something from her."""
    a, b = alice(), bob()
    edge.log.register(a.id)
    edge.log.register(b.id, contributor=BOBS_CONTRIBUTOR)
    await edge.settled()
    async with welcomed(edge.url, a) as (socket, _):
        recorded = a.heartbeat(leaving=False)
        assert (await socket.ask(recorded))["type"] == "Accepted"
        assert (await socket.ask(a.started()))["type"] == "Accepted"
        before, succeeded = of(edge, a), []
        tries: dict[str, Callable[[], str]] = {
            "her message again": lambda: recorded,
            "her device in the message": lambda: b.signed("Heartbeat", b.payload(leaving=True), device=a.id),
            "her device in the claim": lambda: b.signed("Heartbeat", b.payload(device=a.id, leaving=True)),
            "her contributor in the claim": lambda: b.signed("Heartbeat", b.payload(contributor=CONTRIBUTOR)),
            "her session": lambda: b.signed("Heartbeat", b.payload(session=a.session, leaving=True)),
            "a leave of hers, signed by him": lambda: b.signed("Heartbeat", _as(a, leaving=True)),
            "a result of hers, signed by him": lambda: b.signed("JobStarted", _as(a, job=True)),
            "her GPU's id": lambda: b.signed("Heartbeat", b.payload(inventory=[_gpu("GPU-of-alice")])),
        }
        async with welcomed(edge.url, b) as (bobs, _):
            for name, text in tries.items():
                await bobs.ask(text())
                if of(edge, a) != before:
                    succeeded.append(name)
                    before = of(edge, a)
        for record in of(edge, b):
            event = Heartbeat.model_validate_json(record.value or b"")
            assert event.device == b.id
            assert record.key == b.id.encode()
            assert record.header(ITEM) == claim_item(b.id, event.claim).encode()
        assert (await socket.ask(a.heartbeat()))["type"] == "Accepted"
    return succeeded


def _as(device: Device, *, leaving: bool = False, job: bool = False) -> str:
    return device.attempt() if job else device.payload(leaving=leaving)


def _gpu(hardware_id: str) -> dict[str, Any]:
    return {"hardware_id": hardware_id, "kind": "nvidia", "model": "RTX", "slots": 1, "workloads": ["transcode"]}


async def test_bob_says_nothing_in_alice_s_name(edge: RunningEdge) -> None:
    assert await in_alices_name(edge) == []


async def test_a_greeting_of_hers_opens_nothing_for_him(edge: RunningEdge) -> None:
    a, b = alice(), bob()
    edge.log.register(a.id)
    edge.log.register(b.id, contributor=BOBS_CONTRIBUTOR)
    await edge.settled()
    async with welcomed(edge.url, a) as (socket, _):
        async with connected(edge.url) as (bobs, nonce):
            assert (await bobs.ask(b.hello(nonce, device=a.id)))["reason"] == "signature-wrong"
        async with connected(edge.url) as (bobs, nonce):
            hers = json.loads(a.hello("0x" + "00" * 32))
            assert (await bobs.ask(compact(hers)))["reason"] == "signature-wrong"
        # And she was not pushed out.
        assert (await socket.ask(a.heartbeat()))["type"] == "Accepted"


async def test_revoking_one_device_takes_effect_before_its_next_word_and_touches_no_other(edge: RunningEdge) -> None:
    a, b, of_a_too = alice(), bob(), Device(b"c" * 32)
    for device, contributor in ((a, CONTRIBUTOR), (of_a_too, CONTRIBUTOR), (b, BOBS_CONTRIBUTOR)):
        edge.log.register(device.id, contributor=contributor)
    await edge.settled()
    async with (
        welcomed(edge.url, a) as (socket, _),
        welcomed(edge.url, of_a_too) as (second, _),
        welcomed(edge.url, b) as (bobs, _),
    ):
        removed = DeviceRemoved(contributor=CONTRIBUTOR, device=a.id, reason="revoked", sentence="Revoked.")
        edge.log.say(REGISTRY_MEMBERS, CONTRIBUTOR, removed)
        assert (await socket.closed())[0] == 4401
        for other, name in ((second, of_a_too), (bobs, b)):
            assert (await other.ask(name.heartbeat()))["type"] == "Accepted"
    assert of(edge, a) == []


async def test_a_double_that_believes_the_message_is_found_out(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It checks that *a* valid device signed, and takes the name from the message: the token that is valid everywhere."""

    def naive(text: str, speaker: Speaker) -> Carry | Refuse:
        named = json.loads(text).get("device", speaker.device)
        carried = hear(text, speaker)
        if isinstance(carried, Refuse):
            return carried
        said = Said.model_validate_json(text)
        event = type(carried.event)(device=named, payload=said.payload, signature=said.signature)
        return Carry(carried.topic, named, event, carried.claim, claim_item(named, carried.claim))

    monkeypatch.setattr(link, "hear", naive)
    assert await in_alices_name(edge) == ["her device in the message"]
