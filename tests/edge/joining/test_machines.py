"""What a machine is told: the pool, its own state, a code; and nothing of another machine's."""

from __future__ import annotations

import re
import time
from pathlib import Path

import asyncpg
import pytest

from edge.joining.visitors import ALICE, Machine, address_of, browser, delegation
from edge.pool import CHAIN_ID, POOL, RECEIPT_KEY, RunningEdge, running_edge
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_members import ContributorSuspended, ContributorWaits, DeviceRefused
from millpond.events.topics import POOL_TERMS, REGISTRY_MEMBERS
from millpond.identity import DeviceKey
from millpond_agent.edge_client import Device, Enrolled, Enrolment, Pool
from millpond_edge.credentials import limits
from millpond_edge.credentials.strangers import origin_of

OWN, OTHER = DeviceKey(b"o" * 32), DeviceKey(b"x" * 32)
ELEVEN_MINUTES_MS = 11 * 60_000


@pytest.fixture
def machine(edge: RunningEdge) -> Machine:
    return Machine(edge, OWN)


async def test_the_pool_says_who_it_is_to_everybody(edge: RunningEdge) -> None:
    pool = Pool.model_validate_json((await edge.http.get("/pool")).content)
    assert (pool.pool, pool.chain_id, pool.receipt_key) == (POOL, CHAIN_ID, RECEIPT_KEY)
    assert abs(pool.time.timestamp() - time.time()) < 60


async def test_the_latest_terms_are_shown_as_they_were_signed(edge: RunningEdge) -> None:
    assert (await edge.http.get("/terms")).json()["error"]["reason"] == "terms-missing"
    for version in (2, 3, 1):
        facts = {"terms_hash": "0x" + "ab" * 32, "document": f"v{version}", "signer": address_of(ALICE)}
        event = TermsPublished(version=version, effective_from_epoch=0, nonce=version, signature="0x00", **facts)
        edge.log.say(POOL_TERMS, POOL, event)
    await edge.settled()
    terms = (await edge.http.get("/terms")).json()
    assert (terms["version"], terms["document"], terms["signature"]) == (3, "v3", "0x00")


async def test_a_device_hears_how_it_stands(edge: RunningEdge, machine: Machine) -> None:
    path = f"/devices/{OWN.device}"

    async def standing() -> Device:
        await edge.settled()
        return Device.model_validate_json((await machine.get(path)).content)

    assert (await standing()).state == "unknown"
    edge.log.register(OWN.device, contributor=address_of(ALICE), expires_in_s=600)
    assert (await standing()).contributor == address_of(ALICE)
    suspended = ContributorSuspended(contributor=address_of(ALICE), reason="by-operator", sentence="For looking twice.")
    edge.log.say(REGISTRY_MEMBERS, address_of(ALICE), suspended)
    found = await standing()
    assert (found.state, found.reason, "looking twice" in (found.sentence or "")) == (
        "registered",
        "contributor-suspended",
        True,
    )


async def test_a_delegation_that_has_run_out_is_as_good_as_none(edge: RunningEdge, machine: Machine) -> None:
    edge.log.register(OWN.device, contributor=address_of(ALICE), expires_in_s=600)
    await edge.settled()
    edge.ahead_ms[0] = ELEVEN_MINUTES_MS
    found = (await machine.get(f"/devices/{OWN.device}", ahead_s=700)).json()
    assert (found["state"], found["reason"]) == ("removed", "delegation-expired")
    assert "millpond agent join" in found["sentence"]


async def test_a_refusal_comes_with_the_registry_s_reason(edge: RunningEdge, machine: Machine) -> None:
    facts = {"reason": "not-consented", "sentence": "It does not agree."}
    edge.log.say(
        REGISTRY_MEMBERS,
        address_of(ALICE),
        DeviceRefused(contributor=address_of(ALICE), device=OWN.device, **facts),
    )
    await edge.settled()
    found = (await machine.get(f"/devices/{OWN.device}")).json()
    assert found == {"state": "refused", "contributor": address_of(ALICE), **facts}


async def test_who_waits_is_told_for_what(edge: RunningEdge, machine: Machine) -> None:
    assert (await machine.hand_in(delegation(OWN.device))).status_code == 202
    waits = ContributorWaits(contributor=address_of(ALICE), reason="approval", sentence="The operator looks at each.")
    edge.log.say(REGISTRY_MEMBERS, address_of(ALICE), waits)
    await edge.settled()
    found = (await machine.get(f"/devices/{OWN.device}")).json()
    assert (found["state"], found["sentence"]) == ("waiting", "The operator looks at each.")


async def test_nobody_asks_for_another_device(edge: RunningEdge, machine: Machine) -> None:
    path = f"/devices/{OTHER.device}"
    foreign = await machine.get(path)
    assert (foreign.status_code, foreign.json()["error"]["reason"]) == (403, "device-foreign")
    assert (await edge.http.get(path)).status_code == 401
    assert (await machine.get(f"/devices/{OWN.device}", ahead_s=-1)).status_code == 401
    assert (await machine.get(f"/devices/{OWN.device}", pool="other")).status_code == 401
    assert (await machine.get("/devices/0xZZ")).status_code == 422


async def test_a_code_is_short_readable_and_linked(edge: RunningEdge) -> None:
    signature = OWN.sign(pool=POOL, kind="Enrolment", text=OWN.device)
    answer = await edge.http.post("/enrolments", json={"device": OWN.device, "signature": signature})
    enrolment = Enrolment.model_validate_json(answer.content)
    assert re.fullmatch("[BCDFGHJ-NP-TV-XZ2-9]{4}-[BCDFGHJ-NP-TV-XZ2-9]{4}", enrolment.code)
    assert enrolment.link == f"{edge.url}/join/{enrolment.code}"
    assert 590 < enrolment.expires_at.timestamp() - time.time() < 610


@pytest.mark.parametrize(
    ("key", "pool", "kind", "text"),
    [
        (OTHER, POOL, "Enrolment", OWN.device),
        (OWN, "other-pool", "Enrolment", OWN.device),
        (OWN, POOL, "Consent", OWN.device),
        (OWN, POOL, "Enrolment", OTHER.device),
    ],
)
async def test_a_code_is_for_the_device_that_signs_for_one(
    edge: RunningEdge, key: DeviceKey, pool: str, kind: str, text: str
) -> None:
    signature = key.sign(pool=pool, kind=kind, text=text)
    answer = await edge.http.post("/enrolments", json={"device": OWN.device, "signature": signature})
    assert (answer.status_code, answer.json()["error"]["reason"]) == (401, "signature-wrong")
    assert await edge.door.database.fetchval("SELECT count(*) FROM enrolments") == 0


async def test_another_machine_s_code_is_as_one_that_does_not_exist(edge: RunningEdge, machine: Machine) -> None:
    code = await Machine(edge, OTHER).enrol()
    foreign, absent = await machine.get(f"/enrolments/{code}"), await machine.get("/enrolments/BBBB-BBBB")
    assert (foreign.status_code, absent.status_code) == (404, 404)
    assert foreign.text.replace(code, "BBBB-BBBB") == absent.text
    assert (await edge.http.get(f"/enrolments/{code}")).status_code == 401


async def test_a_code_expires_and_a_newer_one_replaces_it(edge: RunningEdge, machine: Machine) -> None:
    first, second = await machine.enrol(), await machine.enrol()
    assert (await machine.get(f"/enrolments/{first}")).status_code == 404
    found = Enrolled.model_validate_json((await machine.get(f"/enrolments/{second}")).content)
    assert (found.state, found.delegation) == ("waiting", None)
    edge.ahead_ms[0] = ELEVEN_MINUTES_MS
    later = Enrolled.model_validate_json((await machine.get(f"/enrolments/{second}", ahead_s=700)).content)
    assert later.state == "expired"


async def test_codes_and_sessions_outlive_an_instance_of_edge(
    edge: RunningEdge, tables: asyncpg.Pool, tmp_path: Path
) -> None:
    code = await Machine(edge, OWN).enrol()
    url = {"public_url": edge.url}
    async with (
        browser(edge) as first,
        running_edge(tmp_path / "other", edge.log, database=tables, settings=url) as other,
        browser(other, origin=edge.url) as second,
    ):
        await first.sign_in()
        second.http.cookies = first.http.cookies
        sent = await second.drafted(action="DelegateDevice", code=code)
        answer = await second.http.post(f"/wallet/codes/{code}/delegation", json=sent)
        assert answer.status_code == 202, answer.text
        found = await Machine(edge, OWN).get(f"/enrolments/{code}")
        assert found.json()["delegation"] == sent


async def test_a_database_that_is_away_is_said_and_waited_for(tmp_path: Path) -> None:
    async with running_edge(tmp_path) as edge:
        signature = OWN.sign(pool=POOL, kind="Enrolment", text=OWN.device)
        answer = await edge.http.post("/enrolments", json={"device": OWN.device, "signature": signature})
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "away")
        assert answer.headers["retry-after"] == "1"


async def test_who_guesses_codes_is_slowed_down_and_no_credential_is(
    tables: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "STRANGERS_BURST", 4)
    monkeypatch.setattr(limits, "STRANGERS_PER_S", 0.01)
    async with running_edge(tmp_path, database=tables) as edge:
        code = await Machine(edge, OWN).enrol()
        statuses = [(await edge.http.get("/wallet/codes/BBBB-BBBB")).status_code for _ in range(5)]
        assert statuses == [404, 404, 404, 429, 429]
        forwarded = {"x-forwarded-for": "203.0.113.9, 127.0.0.1"}
        assert (await edge.http.get("/wallet/codes/BBBB-BBBB", headers=forwarded)).status_code == 404
        forged = {"x-forwarded-for": "203.0.113.7, 203.0.113.9"}
        statuses = [(await edge.http.get("/wallet/codes/BBBB-BBBB", headers=forged)).status_code for _ in range(4)]
        assert statuses == [404, 404, 404, 429]
        assert (await Machine(edge, OWN).get(f"/enrolments/{code}")).status_code == 200


def test_a_customer_of_an_ipv6_network_is_one_stranger_and_not_many() -> None:
    assert origin_of("2001:db8:1:2::1") == origin_of("2001:db8:1:2:ffff::9") != origin_of("2001:db8:1:3::1")
    assert origin_of("::ffff:203.0.113.9") == origin_of("203.0.113.9") == "203.0.113.9"
    assert origin_of("") == ""
