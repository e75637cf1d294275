"""What a wallet has signed is carried as it is; what doesn't count is refused, and on no topic."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edge.joining.visitors import ALICE, MALLORY, Machine, address_of, delegation, signed
from edge.pool import CHAIN_ID, POOL, DeadPublisher, RunningEdge, running_edge
from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, LeaveAsked, enrolment_item
from millpond.events.registry_members import ContributorAdmitted
from millpond.events.topics import AGENT_ENROLMENTS, REGISTRY_MEMBERS
from millpond.identity import DeviceKey, Domain, LeavePool, RevokeDevice, verify_action, verify_device
from millpond.stream.record import ITEM
from millpond_edge.joining import checks

KEY, OTHER = DeviceKey(b"k" * 32), DeviceKey(b"l" * 32)
DEVICE = KEY.device


@pytest.fixture
def machine(edge: RunningEdge) -> Machine:
    return Machine(edge, KEY)


async def refused(edge: RunningEdge, path: str, body: Any) -> tuple[int, str]:
    """Status and reason; asserts that no topic has anything more."""
    before = edge.log.ends()
    answer = await edge.http.post(path, json=body)
    error = answer.json()["error"]
    assert error["sentence"]
    assert edge.log.ends() == before
    return answer.status_code, error["reason"]


async def test_a_delegation_is_carried_as_it_was_signed_and_waits_for_the_registry(machine: Machine) -> None:
    sent = delegation(DEVICE)
    answer = await machine.hand_in(sent)
    (record,) = machine.edge.log.records(AGENT_ENROLMENTS)
    event = DeviceDelegated.model_validate_json(record.value or b"")
    assert (answer.status_code, answer.json()["item"]) == (202, enrolment_item(event))
    assert record.header(ITEM) == enrolment_item(event).encode()
    assert record.key == address_of(ALICE).encode()
    domain = Domain(pool=POOL, chain_id=CHAIN_ID)
    assert verify_action(event, domain=domain, signers=frozenset({address_of(ALICE)}))
    agreed = {"text": address_of(ALICE), "device": DEVICE, "signature": event.consent}
    assert verify_device(pool=POOL, kind="Consent", **agreed)
    # At once: the machine asks right behind it.
    standing = (await machine.get(f"/devices/{DEVICE}")).json()
    assert (standing["state"], standing["contributor"]) == ("waiting", address_of(ALICE))


async def test_the_same_again_is_the_same_and_an_older_nonce_is_refused(machine: Machine) -> None:
    sent = delegation(DEVICE, nonce=7)
    reordered = {**sent, "message": dict(reversed(sent["message"].items()))}
    for body in (sent, reordered):
        assert (await machine.hand_in(body)).status_code == 202
    await machine.edge.settled()
    assert (await machine.hand_in(sent)).status_code == 202
    assert len(machine.edge.log.records(AGENT_ENROLMENTS)) == 1
    for nonce in (7, 6):
        other = delegation(DEVICE, nonce=nonce, expires_at=4_000_000_001)
        answer = await machine.hand_in(other)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "nonce-too-low")
    assert len(machine.edge.log.records(AGENT_ENROLMENTS)) == 1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"consent": OTHER.sign(pool=POOL, kind="Consent", text=address_of(ALICE))}, (401, "signature-wrong")),
        ({"consent": KEY.sign(pool=POOL, kind="Consent", text=address_of(MALLORY))}, (401, "signature-wrong")),
        ({"consent": KEY.sign(pool="other", kind="Consent", text=address_of(ALICE))}, (401, "signature-wrong")),
        ({"consent": None}, (422, "invalid-field")),
        ({"signer": address_of(MALLORY)}, (401, "wrong-signature")),
        ({"signer": address_of(ALICE).lower()}, (422, "malformed-action")),
        ({"signature": "0x"}, (422, "malformed-signature")),
        ({"signature": "0x" + "00" * 64 + "1b"}, (401, "wrong-signature")),
        ({"signature": delegation(DEVICE, MALLORY)["signature"]}, (401, "wrong-signature")),
        ({"message": {"device": DEVICE}}, (422, "malformed-action")),
        ({"message": {**delegation(DEVICE)["message"], "nonce": True}}, (422, "invalid-field")),
        ({"message": {**delegation(DEVICE)["message"], "nonce": 10**4_000}}, (422, "malformed-action")),
        ({"message": {**delegation(DEVICE)["message"], "device": OTHER.device}}, (401, "wrong-signature")),
        ({"action": "LeavePool"}, (422, "invalid-field")),
        ({"contributor": address_of(MALLORY)}, (422, "invalid-field")),
        (delegation(DEVICE, domain=Domain("other", CHAIN_ID)), (401, "wrong-signature")),
        (delegation(DEVICE, domain=Domain(POOL, 1)), (401, "wrong-signature")),
        (delegation(DEVICE, scope="money"), (422, "scope-unknown")),
        (delegation(DEVICE, expires_at=1_000), (422, "delegation-expired")),
        (delegation(DEVICE, expires_at=2**200), (422, "delegation-expired")),
    ],
)
async def test_a_delegation_that_does_not_count_is_on_no_topic(
    machine: Machine, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    body = {**delegation(DEVICE), "consent": machine.consent(address_of(ALICE)), **changes}
    assert await refused(machine.edge, "/delegations", body) == expected
    assert (await machine.get(f"/devices/{DEVICE}")).json()["state"] == "unknown"


async def test_a_revocation_counts_from_its_answer_on_whatever_the_registry_does(machine: Machine) -> None:
    edge, now_ms = machine.edge, int(time.time() * 1000)
    for device in (DEVICE, OTHER.device):
        edge.log.register(device, contributor=address_of(ALICE))
    await edge.settled()
    assert edge.door.members.works_for(DEVICE, now_ms) == address_of(ALICE)
    answer = await edge.http.post("/revocations", json=signed(RevokeDevice(device=DEVICE, nonce=1)))
    assert answer.status_code == 202
    assert edge.door.members.works_for(DEVICE, now_ms) is None
    assert edge.door.members.works_for(OTHER.device, now_ms) == address_of(ALICE)
    assert (await machine.get(f"/devices/{DEVICE}")).json()["state"] == "removed"
    (record,) = edge.log.records(AGENT_ENROLMENTS)
    assert DeviceRevoked.model_validate_json(record.value or b"").message["device"] == DEVICE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (signed(RevokeDevice(device=DEVICE, nonce=1), MALLORY), (403, "device-foreign")),
        ({"signer": address_of(MALLORY)}, (401, "wrong-signature")),
        (signed(RevokeDevice(device=DEVICE, nonce=1), domain=Domain("other", CHAIN_ID)), (401, "wrong-signature")),
        ({"signature": "0x12"}, (422, "malformed-signature")),
        ({"signature": None}, (422, "invalid-field")),
        ({"action": "LeavePool", "message": {"nonce": 1}}, (422, "invalid-field")),
    ],
)
async def test_nobody_else_revokes_a_device(
    machine: Machine, changes: dict[str, Any], expected: tuple[int, str]
) -> None:
    machine.edge.log.register(DEVICE, contributor=address_of(ALICE))
    await machine.edge.settled()
    body = {**signed(RevokeDevice(device=DEVICE, nonce=1)), **changes}
    assert await refused(machine.edge, "/revocations", body) == expected
    assert (await machine.get(f"/devices/{DEVICE}")).json()["state"] == "registered"


async def test_a_delegation_that_lies_about_unused_can_be_revoked_before_anybody_uses_it(machine: Machine) -> None:
    lost = delegation(DEVICE, nonce=1)
    body = signed(RevokeDevice(device=DEVICE, nonce=2))
    assert (await machine.edge.http.post("/revocations", json=body)).status_code == 202
    answer = await machine.hand_in(lost)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "revoked")
    other = Machine(machine.edge, OTHER)
    assert (await other.hand_in(delegation(OTHER.device, nonce=0))).status_code == 202


async def test_delegations_that_were_signed_one_after_the_other_come_in_in_any_order(edge: RunningEdge) -> None:
    for nonce in (9, 7, 8):
        machine = Machine(edge, DeviceKey(bytes([nonce]) * 32))
        assert (await machine.hand_in(delegation(machine.device, nonce=nonce))).status_code == 202
    assert (await edge.http.post("/departures", json=signed(LeavePool(nonce=8)))).status_code == 409
    assert (await edge.http.post("/departures", json=signed(LeavePool(nonce=10)))).status_code == 202
    late = Machine(edge, KEY)
    answer = await late.hand_in(delegation(DEVICE, nonce=10))
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "nonce-too-low")
    assert (await late.hand_in(delegation(DEVICE, nonce=11))).status_code == 202


async def test_of_two_contents_at_once_under_one_identity_one_is_carried(edge: RunningEdge) -> None:
    machines = [Machine(edge, DeviceKey(bytes([number]) * 32)) for number in range(1, 6)]
    answers = await asyncio.gather(*(each.hand_in(delegation(each.device, nonce=1)) for each in machines))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409]
    assert len(edge.log.records(AGENT_ENROLMENTS)) == 1


async def test_who_is_in_may_leave(edge: RunningEdge) -> None:
    edge.log.say(REGISTRY_MEMBERS, address_of(ALICE), ContributorAdmitted(contributor=address_of(ALICE), policy="open"))
    await edge.settled()
    assert (await edge.http.post("/departures", json=signed(LeavePool(nonce=1)))).status_code == 202
    (record,) = edge.log.records(AGENT_ENROLMENTS)
    assert LeaveAsked.model_validate_json(record.value or b"").signer == address_of(ALICE)


async def test_nobody_leaves_who_is_not_in_nor_for_another(edge: RunningEdge) -> None:
    edge.log.register(DEVICE, contributor=address_of(ALICE))
    await edge.settled()
    leave = signed(LeavePool(nonce=1), MALLORY)
    assert await refused(edge, "/departures", leave) == (404, "contributor-unknown")
    assert await refused(edge, "/departures", {**leave, "signer": address_of(ALICE)}) == (401, "wrong-signature")
    revocation = signed(RevokeDevice(device=DEVICE, nonce=1))
    assert await refused(edge, "/departures", revocation) == (422, "invalid-field")


async def test_without_kafka_s_word_nothing_is_acknowledged(tmp_path: Path) -> None:
    async with running_edge(tmp_path, publisher=DeadPublisher(), patience_s=0.2) as edge:
        machine = Machine(edge, KEY)
        answer = await machine.hand_in(delegation(DEVICE))
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "not-acknowledged")
        assert (await machine.get(f"/devices/{DEVICE}")).json()["state"] == "unknown"


async def test_recovering_a_wallet_s_key_holds_up_no_heartbeat(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def slow(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        return verify_action(*arguments, **options)

    monkeypatch.setattr(checks, "verify_action", slow)
    await edge.http.post("/departures", json=signed(LeavePool(nonce=1)))
    assert threads
    assert threading.current_thread() not in threads
