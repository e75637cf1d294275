"""A wallet signs in and delegates on the page's routes; no other page, wallet or code does it in its place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from edge.joining.visitors import ALICE, MALLORY, Browser, Machine, address_of, browser, delegation, said
from edge.pool import CHAIN_ID, POOL, RunningEdge, device_authorization
from millpond.events.agent_enrolments import DeviceDelegated, SignedIn, sign_in_item
from millpond.events.topics import AGENT_ENROLMENTS
from millpond.identity import DeviceKey, verify_sign_in
from millpond.stream.record import ITEM

KEY, OTHER = DeviceKey(b"k" * 32), DeviceKey(b"l" * 32)
ELEVEN_MINUTES_MS, TWO_HOURS_MS = 11 * 60_000, 2 * 3_600_000


@pytest.fixture
def machine(edge: RunningEdge) -> Machine:
    return Machine(edge, KEY)


@pytest.fixture
async def alice(edge: RunningEdge) -> AsyncIterator[Browser]:
    async with browser(edge) as alice:
        yield alice


def reason(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["reason"]


async def test_from_the_code_to_the_delegation_on_the_topic(machine: Machine, alice: Browser) -> None:
    code = await machine.enrol()
    found = (await alice.http.get(f"/wallet/codes/{code}")).json()
    assert (found["device"], found["state"], found["standing"]["state"]) == (KEY.device, "waiting", "unknown")
    await alice.sign_in()
    sent = await alice.drafted(action="DelegateDevice", code=code, days=30)
    answer = await alice.http.post(f"/wallet/codes/{code}/delegation", json=sent)
    assert (answer.status_code, answer.json()["state"]) == (202, "delegated")
    enrolled = (await machine.get(f"/enrolments/{code}")).json()
    assert enrolled == {"state": "delegated", "contributor": alice.contributor, "delegation": sent}
    assert (await machine.hand_in(enrolled["delegation"])).status_code == 202
    first, second = machine.edge.log.records(AGENT_ENROLMENTS)
    signed_in = SignedIn.model_validate_json(first.value or b"")
    verify_sign_in(signed_in.text, address=alice.contributor, signature=signed_in.signature)
    assert f"Nonce: {signed_in.nonce}" in signed_in.text
    assert first.header(ITEM) == sign_in_item(signed_in).encode()
    assert first.key == second.key == alice.contributor.encode()
    assert DeviceDelegated.model_validate_json(second.value or b"").message == sent["message"]
    assert (await alice.http.get(f"/wallet/codes/{code}")).json()["standing"]["state"] == "waiting"


async def test_the_text_to_sign_names_the_page_the_chain_and_its_end(edge: RunningEdge, alice: Browser) -> None:
    lines = (await alice.offered())["text"].splitlines()
    assert lines[0] == f"{edge.url.removeprefix('http://')} wants you to sign in with your Ethereum account:"
    assert lines[1] == alice.contributor
    assert f"URI: {edge.url}/join" in lines
    assert f"Chain ID: {CHAIN_ID}" in lines
    assert any(line.startswith("Expiration Time: ") for line in lines)
    assert f"to the pool {POOL}" in lines[3]


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(edge: RunningEdge, alice: Browser) -> None:
    offered = await alice.offered()
    body = {"nonce": offered["nonce"], "signature": said(offered["text"])}
    answer = await alice.http.post("/wallet/sessions", json=body)
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=strict", "Path=/;", "Max-Age=3600"):
        assert attribute in cookie
    token = cookie.split("=", 1)[1].split(";")[0]
    rows = await edge.door.database.fetch("SELECT * FROM sign_ins")
    assert token not in str(rows)


async def test_a_sign_in_counts_once_and_for_its_own_wallet(edge: RunningEdge, alice: Browser) -> None:
    offered = await alice.offered()
    own, foreign = said(offered["text"]), said(offered["text"], MALLORY)
    other_text = said(offered["text"].replace("Chain ID", "Chain Id"))
    answers = []
    for signature in (foreign, other_text, "0x00", own, own):
        body = {"nonce": offered["nonce"], "signature": signature}
        answers.append((await alice.http.post("/wallet/sessions", json=body)).status_code)
    assert answers == [401, 401, 422, 201, 401]
    never = {"nonce": "0" * 32, "signature": own}
    assert reason(await alice.http.post("/wallet/sessions", json=never)) == (401, "sign-in-unknown")
    late = await alice.offered()
    edge.ahead_ms[0] = ELEVEN_MINUTES_MS
    body = {"nonce": late["nonce"], "signature": said(late["text"])}
    assert reason(await alice.http.post("/wallet/sessions", json=body)) == (401, "sign-in-unknown")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", ""])
async def test_another_site_s_page_can_do_nothing(edge: RunningEdge, machine: Machine, origin: str) -> None:
    code = await machine.enrol()
    async with browser(edge) as alice:
        await alice.sign_in()
        sent = await alice.drafted(action="DelegateDevice", code=code)
        offered = await alice.offered()
        alice.http.headers["origin"] = origin
        session = {"nonce": offered["nonce"], "signature": said(offered["text"])}
        before = edge.log.ends()
        for method, path, body in (
            ("POST", "/wallet/sign-ins", {"address": alice.contributor}),
            ("POST", "/wallet/sessions", session),
            ("POST", "/wallet/drafts", {"action": "LeavePool"}),
            ("POST", f"/wallet/codes/{code}/delegation", sent),
            ("DELETE", "/wallet/sessions", None),
        ):
            answer = await alice.http.request(method, path, json=body)
            assert reason(answer) == (403, "origin-foreign"), path
            assert "access-control-allow-origin" not in answer.headers
        assert edge.log.ends() == before
        assert (await alice.http.get("/wallet/devices")).status_code == 200
    assert (await machine.get(f"/enrolments/{code}")).json()["state"] == "waiting"


async def test_without_a_session_or_with_one_that_is_over_nothing_is_shown_or_done(
    edge: RunningEdge, machine: Machine, alice: Browser
) -> None:
    code = await machine.enrol()

    async def all_refused() -> None:
        before = edge.log.ends()
        for method, path, body in (
            ("GET", "/wallet/devices", None),
            ("POST", "/wallet/drafts", {"action": "LeavePool"}),
            ("POST", f"/wallet/codes/{code}/delegation", delegation(KEY.device)),
            ("DELETE", "/wallet/sessions", None),
        ):
            assert reason(await alice.http.request(method, path, json=body)) == (401, "not-signed-in")
        assert edge.log.ends() == before

    await all_refused()
    alice.http.cookies.set("millpond_session", "guessed", path="/")
    await all_refused()
    alice.http.cookies.clear()
    await alice.sign_in()
    kept = dict(alice.http.cookies)
    assert (await alice.http.delete("/wallet/sessions")).status_code == 204
    assert not alice.http.cookies
    alice.http.cookies.update(kept)
    await all_refused()
    alice.http.cookies.clear()
    await alice.sign_in()
    edge.ahead_ms[0] = TWO_HOURS_MS
    await all_refused()
    assert await edge.door.database.fetchval("SELECT count(delegation) FROM enrolments") == 0


async def test_a_delegation_that_is_not_for_this_code_by_this_wallet_changes_nothing(
    edge: RunningEdge, machine: Machine, alice: Browser
) -> None:
    code = await machine.enrol()
    await alice.sign_in()
    before = edge.log.ends()
    cases: list[tuple[dict[str, Any], tuple[int, str]]] = [
        (delegation(KEY.device, MALLORY), (403, "not-the-signer")),
        (delegation(OTHER.device), (403, "device-foreign")),
        (delegation(KEY.device, scope="money"), (422, "scope-unknown")),
        (delegation(KEY.device, expires_at=5), (422, "delegation-expired")),
        ({**delegation(KEY.device, MALLORY), "signer": address_of(ALICE)}, (401, "wrong-signature")),
    ]
    for sent, expected in cases:
        assert reason(await alice.http.post(f"/wallet/codes/{code}/delegation", json=sent)) == expected
    assert edge.log.ends() == before
    assert (await machine.get(f"/enrolments/{code}")).json()["state"] == "waiting"


async def test_a_code_is_used_once_and_in_time(edge: RunningEdge, machine: Machine, alice: Browser) -> None:
    await alice.sign_in()
    code = await machine.enrol()
    sent = await alice.drafted(action="DelegateDevice", code=code)
    path = f"/wallet/codes/{code}/delegation"
    assert (await alice.http.post(path, json=sent)).status_code == 202
    before = edge.log.ends()
    async with browser(edge, MALLORY) as mallory:
        await mallory.sign_in()
        taken = await mallory.http.post(path, json=delegation(KEY.device, MALLORY))
        assert reason(taken) == (409, "code-used")
    code = await machine.enrol()
    edge.ahead_ms[0] = ELEVEN_MINUTES_MS
    path = f"/wallet/codes/{code}/delegation"
    for used, expected in ((path, (410, "code-expired")), (path.replace(code, "BBBB-BBBB"), (404, "no-such-code"))):
        assert reason(await alice.http.post(used, json=sent)) == expected
    assert reason(await alice.http.get(f"/wallet/codes/{code}")) == (410, "code-expired")
    assert edge.log.ends() == before


async def test_of_two_wallets_that_use_a_code_at_once_one_counts(edge: RunningEdge, machine: Machine) -> None:
    code = await machine.enrol()
    async with browser(edge) as alice, browser(edge, MALLORY) as mallory:
        outcomes = []
        for each in (alice, mallory):
            await each.sign_in()
            outcomes.append(await each.drafted(action="DelegateDevice", code=code))
        answers = await asyncio.gather(
            *(
                each.http.post(f"/wallet/codes/{code}/delegation", json=sent)
                for each, sent in zip((alice, mallory), outcomes, strict=True)
            )
        )
    assert sorted(answer.status_code for answer in answers) == [202, 409]


async def test_a_draft_is_above_every_nonce_that_the_wallet_has_signed(
    edge: RunningEdge, machine: Machine, alice: Browser
) -> None:
    ahead = 2**52
    assert (await machine.hand_in(delegation(KEY.device, nonce=ahead))).status_code == 202
    await alice.sign_in()
    revocation = await alice.drafted(action="RevokeDevice", device=KEY.device)
    assert revocation["message"]["nonce"] == ahead + 1
    assert (await alice.http.post("/revocations", json=revocation)).status_code == 202
    departure = await alice.drafted(action="LeavePool")
    assert (await alice.http.post("/departures", json=departure)).status_code == 202


async def test_a_contributor_sees_his_devices_and_nobody_else_s(edge: RunningEdge, alice: Browser) -> None:
    edge.log.register(KEY.device, contributor=alice.contributor)
    edge.log.register(OTHER.device, contributor=address_of(MALLORY))
    await edge.settled()
    await alice.sign_in()
    shown = (await alice.http.get("/wallet/devices")).json()
    assert (shown["contributor"], shown["state"]) == (alice.contributor, "admitted")
    (device,) = shown["devices"]
    assert (device["device"], device["state"], device["jobs"]) == (KEY.device, "registered", 0)
    # Only the cookie is looked at: a device's signature is no contributor's.
    signature = device_authorization(KEY, "GET", "/wallet/devices")
    assert (await edge.http.get("/wallet/devices", headers={"authorization": signature})).status_code == 401


async def test_an_address_in_any_case_is_the_same_wallet_and_what_is_none_is_refused(
    edge: RunningEdge, alice: Browser
) -> None:
    assert (await alice.offered())["contributor"] == alice.contributor
    for address in ("0x12", "me", alice.contributor + "00", None):
        answer = await alice.http.post("/wallet/sign-ins", json={"address": address})
        assert reason(answer) == (422, "invalid-field")
    assert await edge.door.database.fetchval("SELECT count(*) FROM sign_ins") == 1
