"""The pages in a real browser, with the real `millpond agent join` as the machine."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console
from selenium import webdriver

from edge.joining.chromium import Wallet, chromium, page
from edge.joining.visitors import ALICE, DOMAIN, MALLORY, Machine, address_of
from edge.pool import POOL, WITHIN_S, RunningEdge
from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, LeaveAsked, SignedIn
from millpond.events.event import Event
from millpond.events.pool_terms import TermsPublished
from millpond.events.topics import AGENT_ENROLMENTS, POOL_TERMS
from millpond.identity import DeviceKey, load_or_make_device_key, verify_action
from millpond.terms import canonical, read_terms_file, terms_hash
from millpond_agent.join import join
from millpond_agent.settings import AgentSettings

TERMS = Path(__file__).parents[3] / "deploy" / "terms" / "example.yaml"
KEY = DeviceKey(b"k" * 32)
ELEVEN_MINUTES_MS = 11 * 60_000
CONNECT, SIGN_IN, DELEGATE = "#wallets .wallet", "#sign-in", "#delegate"


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as started:
        yield started


@dataclass
class Joining:
    """`millpond agent join`, as it runs."""

    task: asyncio.Task[None]
    said: io.StringIO
    asked: list[str]
    device: str

    async def link(self) -> str:
        async with asyncio.timeout(WITHIN_S):
            while (found := re.search(r"http\S+/join/\S+", self.said.getvalue())) is None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return found[0]


@asynccontextmanager
async def joining(edge: RunningEdge, directory: Path, *, agrees: bool = True) -> AsyncIterator[Joining]:
    said, asked = io.StringIO(), list[str]()

    def confirm(signer: str) -> bool:
        asked.append(signer)
        return agrees

    settings, console = AgentSettings(directory=directory), Console(file=said, width=200)
    task = asyncio.create_task(
        join(edge.url, settings, console, delegation=None, confirm=confirm, again=False, wait_s=WITHIN_S)
    )
    try:
        yield Joining(task, said, asked, load_or_make_device_key(directory / "device.key").device)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def publish_terms(edge: RunningEdge) -> None:
    document = canonical(read_terms_file(TERMS))
    facts = {"terms_hash": terms_hash(document), "document": document, "signer": address_of(ALICE)}
    edge.log.say(POOL_TERMS, POOL, TermsPublished(version=1, effective_from_epoch=0, nonce=1, signature="0x", **facts))


def enrolments(edge: RunningEdge) -> list[type[Event]]:
    """What is on the topic, in the order of one contributor."""
    kinds = {kind.type_name: kind for kind in (SignedIn, DeviceDelegated, DeviceRevoked, LeaveAsked)}
    records = sorted(edge.log.records(AGENT_ENROLMENTS), key=lambda record: record.offset)
    return [kinds[(record.header("ce_type") or b"").decode()] for record in records]


async def test_a_wallet_lends_the_machine_and_both_see_it(
    edge: RunningEdge, driver: webdriver.Chrome, tmp_path: Path
) -> None:
    publish_terms(edge)
    await edge.settled()
    wallet = Wallet()
    async with joining(edge, tmp_path / "machine") as machine, page(driver, wallet) as opened:
        await opened.open(await machine.link())
        await opened.says(machine.device)
        await opened.says((await machine.link())[-9:])
        await opened.says("80 % for the contributors, paid weekly or monthly in ETH")
        await opened.press(CONNECT)
        await opened.press(SIGN_IN)
        await opened.press(DELEGATE)
        await opened.says("The machine agreed. Waiting for the pool to let it in.")
        edge.log.register(machine.device, contributor=address_of(ALICE))
        await opened.says("Your machine is in")
        await asyncio.wait_for(machine.task, WITHIN_S)
        assert f"works for {address_of(ALICE)}" in machine.said.getvalue()
        assert machine.asked == [address_of(ALICE)]
        assert enrolments(edge) == [SignedIn, DeviceDelegated]
        delegated = DeviceDelegated.model_validate_json(edge.log.records(AGENT_ENROLMENTS)[1].value or b"")
        assert verify_action(delegated, domain=DOMAIN, signers=frozenset({address_of(ALICE)}))
        (shown,) = wallet.shown
        assert (shown["message"]["device"], shown["message"]["scope"]) == (machine.device, "work")


async def test_who_declines_has_changed_nothing_and_may_try_again(
    edge: RunningEdge, driver: webdriver.Chrome, tmp_path: Path
) -> None:
    code = await Machine(edge, KEY).enrol()
    wallet = Wallet(declines={"eth_requestAccounts": 1, "personal_sign": 1, "eth_signTypedData_v4": 1})
    async with page(driver, wallet, announced=False) as opened:
        await opened.open(f"{edge.url}/join/{code}")
        for button in (CONNECT, SIGN_IN, DELEGATE):
            await opened.press(button)
            await opened.says("You declined in the wallet, so nothing has changed.")
            assert edge.log.records(AGENT_ENROLMENTS) == []
            await opened.press(button)
        await opened.says("Go back to the machine")
    assert enrolments(edge) == [SignedIn]


@pytest.mark.parametrize("way", ["switches", "declines", "unknown"])
async def test_a_wallet_on_another_chain_is_switched_or_told(
    edge: RunningEdge, driver: webdriver.Chrome, way: str
) -> None:
    code = await Machine(edge, KEY).enrol()
    declines = {"wallet_switchEthereumChain": 1} if way == "declines" else {}
    wallet = Wallet(chain_id=1, declines=declines, knows_the_chain=way != "unknown")
    async with page(driver, wallet) as opened:
        await opened.open(f"{edge.url}/join/{code}")
        await opened.press(CONNECT)
        if way == "unknown":
            await opened.says("Your wallet doesn’t know the network of this pool, a local test chain (chain 31337).")
            return
        if way == "declines":
            await opened.says(
                "This pool is on a local test chain (chain 31337), and your wallet is on another network."
            )
            await opened.press(CONNECT)
        await opened.press(SIGN_IN)
        await opened.press(DELEGATE)
        await opened.says("Go back to the machine")


async def test_a_code_that_has_expired_or_is_none_is_said_and_asked_for_again(
    edge: RunningEdge, driver: webdriver.Chrome
) -> None:
    code = await Machine(edge, KEY).enrol()
    async with page(driver, Wallet()) as opened:
        await opened.open(f"{edge.url}/join/BBBB-BBBB")
        await opened.says("There is no code BBBB-BBBB here")
        await opened.open(f"{edge.url}/join/{code}")
        await opened.press(CONNECT)
        await opened.press(SIGN_IN)
        edge.ahead_ms[0] = ELEVEN_MINUTES_MS
        await opened.press(DELEGATE)
        await opened.says(f"The code {code} has expired")
        await opened.open(f"{edge.url}/join/{code}")
        await opened.says("Which machine?")
        fresh = await Machine(edge, KEY).enrol()
        await opened.script("document.getElementById('code-field').value = arguments[0]", fresh.lower())
        await opened.press("#code-form button")
        await opened.says(KEY.device)
    assert enrolments(edge) == []


async def test_a_code_that_somebody_else_has_used_shows_who(edge: RunningEdge, driver: webdriver.Chrome) -> None:
    code = await Machine(edge, KEY).enrol()
    async with page(driver, Wallet()) as alice:
        await alice.open(f"{edge.url}/join/{code}")
        await alice.press(CONNECT)
        await alice.press(SIGN_IN)
        async with asyncio.timeout(WITHIN_S):
            await edge.door.database.execute(
                "UPDATE enrolments SET contributor = $1, delegation = '{}'", address_of(MALLORY)
            )
        await alice.press(DELEGATE)
        await alice.says(f"was used: {address_of(MALLORY)} has delegated that machine")
    assert enrolments(edge) == []


async def test_a_machine_whose_person_says_no_does_not_join(
    edge: RunningEdge, driver: webdriver.Chrome, tmp_path: Path
) -> None:
    async with joining(edge, tmp_path / "machine", agrees=False) as machine, page(driver, Wallet()) as opened:
        await opened.open(await machine.link())
        for button in (CONNECT, SIGN_IN, DELEGATE):
            await opened.press(button)
        await opened.says("Go back to the machine")
        await asyncio.wait([machine.task], timeout=WITHIN_S)
        assert "Nothing was sent" in str(machine.task.exception())
        # The machine said no, so nothing but the sign-in is anywhere.
        assert enrolments(edge) == [SignedIn]


async def test_without_a_wallet_the_page_says_what_to_do(edge: RunningEdge, driver: webdriver.Chrome) -> None:
    code = await Machine(edge, KEY).enrol()
    async with page(driver, None) as opened:
        await opened.open(f"{edge.url}/join/{code}")
        await opened.says("There is no wallet in this browser.")
        await opened.says(f"--device {KEY.device} \\ --pool {POOL} --chain-id 31337 > delegation.json")


async def test_a_contributor_revokes_a_device_and_leaves(edge: RunningEdge, driver: webdriver.Chrome) -> None:
    other = DeviceKey(b"m" * 32)
    for device in (KEY.device, other.device):
        edge.log.register(device, contributor=address_of(ALICE))
    edge.log.register("0x" + "dd" * 32, contributor=address_of(MALLORY))
    await edge.settled()
    wallet = Wallet(declines={"eth_signTypedData_v4": 1})
    async with page(driver, wallet) as opened:
        await opened.open(f"{edge.url}/devices")
        await opened.press(CONNECT)
        await opened.says(other.device)
        assert "0x" + "dd" * 32 not in await opened.text()
        revoke = f"[data-device='{KEY.device}'] button"
        await opened.press(revoke)
        await opened.press("#question [value=no]")
        await opened.press(revoke)
        await opened.press("#question-yes")
        await opened.says("You declined in the wallet")
        assert enrolments(edge) == []
        await opened.press(revoke)
        await opened.press("#question-yes")
        await opened.says("Its contributor's wallet has revoked it.")
        await opened.press("#leave")
        await opened.press("#question-yes")
        await opened.says("The pool has it. Your devices finish what they run.")
        assert enrolments(edge) == [DeviceRevoked, LeaveAsked]
        await opened.press("#sign-out")
        await opened.says("Sign in with your wallet")
        assert other.device not in await opened.text()
