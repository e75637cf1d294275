"""Joining: by a file or by the browser; nothing is sent that doesn't count, and nobody is joined for a stranger."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from rich.console import Console

from agent.fake_edge import CHAIN_ID, POOL, FakeEdge
from agent.served import served
from millpond.identity import DelegateDevice, Domain, load_or_make_device_key, sign_action
from millpond_agent.errors import EdgeAway, JoinFailed, OtherPool
from millpond_agent.join import join
from millpond_agent.membership import read_membership
from millpond_agent.settings import AgentSettings

WALLET = "0x" + "07" * 32
CONTRIBUTOR = Account.from_key(WALLET).address


@dataclass
class Place:
    edge: FakeEdge
    url: str
    directory: Path
    said: io.StringIO
    wait_s: float = 5

    @property
    def device(self) -> str:
        return load_or_make_device_key(self.directory / "device.key").device

    def delegation(self, *, pool: str = POOL, **changes: Any) -> dict[str, Any]:
        fields = {"device": self.device, "scope": "work", "expires_at": 2**32, "nonce": 1, **changes}
        signed = sign_action(DelegateDevice(**fields), domain=Domain(pool=pool, chain_id=CHAIN_ID), private_key=WALLET)
        return asdict(signed)

    def file(self, text: str) -> Path:
        path = self.directory / "delegation.json"
        path.write_text(text)
        return path

    async def join(
        self, delegation: Path | None = None, confirm: Callable[[str], bool] = lambda _: True, again: bool = False
    ) -> str:
        console = Console(file=self.said, width=100)
        settings = AgentSettings(directory=self.directory)
        await join(self.url, settings, console, delegation=delegation, confirm=confirm, again=again, wait_s=self.wait_s)
        return self.said.getvalue()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    edge = FakeEdge()
    async with served(edge.app) as url:
        yield Place(edge, url, tmp_path, io.StringIO())
    assert not edge.faults


async def test_a_file_of_the_wallet_joins_the_machine_with_its_consent(place: Place) -> None:
    path = place.file(json.dumps(place.delegation()))
    assert CONTRIBUTOR in await place.join(path)
    (sent,) = place.edge.delegations
    assert sent == {**place.delegation(), "consent": sent["consent"]}
    membership = read_membership(place.directory)
    assert membership is not None
    assert (membership.edge, membership.pool) == (place.url, POOL)
    assert (place.directory / "device.key").stat().st_mode & 0o777 == 0o600


async def test_the_browser_s_delegation_is_shown_before_the_machine_consents(place: Place) -> None:
    asked: list[str] = []

    def confirm(signer: str) -> bool:
        asked.append(signer)
        assert not place.edge.delegations
        return True

    joining = asyncio.create_task(place.join(confirm=confirm))
    await place.edge.until(lambda: "ABCD-EFGH" in place.said.getvalue())
    assert place.device in place.said.getvalue()
    place.edge.enrolled = {"state": "delegated", "contributor": CONTRIBUTOR, "delegation": place.delegation()}
    await joining
    assert asked == [CONTRIBUTOR]
    assert len(place.edge.delegations) == 1


async def test_without_the_contributor_s_yes_nothing_is_sent(place: Place) -> None:
    with pytest.raises(JoinFailed, match="Nothing was sent"):
        await place.join(place.file(json.dumps(place.delegation())), confirm=lambda _: False)
    assert not place.edge.delegations


async def test_a_code_that_expires_says_what_to_do(place: Place) -> None:
    place.edge.enrolled = {"state": "expired"}
    with pytest.raises(JoinFailed, match="again for a new one"):
        await place.join()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"device": "0x" + "ab" * 32}, "this one is 0x"),
        ({"scope": "money"}, "'money'"),
        ({"expires_at": 1_000}, "has expired"),
        ({"pool": "other-pool"}, "does not count for the pool test-pool"),
    ],
)
async def test_a_delegation_that_would_not_count_is_never_sent(
    place: Place, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(JoinFailed, match=sentence):
        await place.join(place.file(json.dumps(place.delegation(**changes))))
    assert not place.edge.delegations


async def test_edge_can_t_put_another_wallet_s_name_on_a_signature(place: Place) -> None:
    forged = {**place.delegation(), "signer": Account.from_key("0x" + "08" * 32).address}
    with pytest.raises(JoinFailed, match="signature of DelegateDevice"):
        await place.join(place.file(json.dumps(forged)))
    assert not place.edge.delegations


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"signer": 1}'])
async def test_a_file_that_is_no_delegation_is_named(place: Place, text: str) -> None:
    with pytest.raises(JoinFailed, match=r"delegation\.json is no delegation"):
        await place.join(place.file(text))


async def test_a_refusal_is_told_in_the_pool_s_words(place: Place) -> None:
    place.edge.standing = {"state": "refused", "reason": "nonce-low", "sentence": "Sign again with a nonce above 7."}
    with pytest.raises(JoinFailed, match="nonce above 7"):
        await place.join(place.file(json.dumps(place.delegation())))


async def test_a_pool_that_approves_by_hand_is_waited_for_elsewhere(place: Place) -> None:
    place.edge.standing = {"state": "waiting"}
    place.wait_s = 0
    assert "operator's approval" in await place.join(place.file(json.dumps(place.delegation())))


async def test_a_machine_that_is_in_already_is_not_joined_again(place: Place) -> None:
    place.edge.standing = {"state": "registered", "contributor": CONTRIBUTOR}
    assert CONTRIBUTOR in await place.join()
    assert not place.edge.delegations


async def test_a_delegation_can_be_renewed_before_it_expires(place: Place) -> None:
    place.edge.standing = {"state": "registered", "contributor": CONTRIBUTOR}
    place.edge.enrolled = {"state": "delegated", "delegation": place.delegation()}
    await place.join(again=True)
    await place.join(place.file(json.dumps(place.delegation(nonce=2))))
    assert [sent["message"]["nonce"] for sent in place.edge.delegations] == [1, 2]


async def test_a_directory_belongs_to_one_pool(place: Place) -> None:
    await place.join(place.file(json.dumps(place.delegation())))
    place.edge.pool = "other-pool"
    with pytest.raises(OtherPool, match="other-pool"):
        await place.join()


async def test_an_address_where_no_pool_answers_is_named(place: Place) -> None:
    place.url = "http://127.0.0.1:9"
    with pytest.raises(EdgeAway, match="http"):
        await place.join()
