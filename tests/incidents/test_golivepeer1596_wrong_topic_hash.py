"""Incident 48, `golivepeer1596-wrong-topic-hash`: a filter that matches nothing looks like a quiet chain.

A misspelt signature gave a wrong topic, and the watcher skipped the events in silence (go-livepeer PR #1596).
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from importlib.resources import files

import pytest

from chain.anvil import OWNER, STRANGER
from incidents.chain_world import chain_world
from millpond.chain.abi import Abi
from millpond.chain.deploy import send
from millpond.chain.livepeer import LIVEPEER, TOPICS, AbiDiffers, check_topics, contract_id
from millpond.events.chain_revenue import IncomeUnexplained, TicketRedeemed
from millpond_chain_watcher.decoding import ContractUpgraded
from millpond_chain_watcher.watcher import IncomeDiffers
from millpond_demo.livepeer.protocol import artifact


def test_an_altered_signature_is_found_at_the_start() -> None:
    check_topics()
    text = files("millpond.chain").joinpath("livepeer.json").read_text()
    for event in TOPICS:
        altered = Abi(json.loads(text.replace(f'"name": "{event}"', f'"name": "{event}s"')))
        with pytest.raises(AbiDiffers):
            check_topics(altered)


def test_the_contracts_of_the_demo_log_as_livepeers_do() -> None:
    for contract in ("TicketBroker", "BondingManager", "RoundsManager", "Controller"):
        topics = artifact(contract).abi.topics
        assert all(topics[event] == TOPICS[event] for event in topics.keys() & TOPICS.keys())


async def test_income_that_no_event_tells_of_is_told_by_the_balance(
    anvil_url: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with chain_world(anvil_url, database) as world:
        # The double's mistake: the filter asks for an event that there isn't.
        wrong = {
            **LIVEPEER.topics,
            "WinningTicketTransfer": "0x" + "11" * 32,
            "WinningTicketRedeemed": "0x" + "22" * 32,
        }
        monkeypatch.setattr(LIVEPEER, "topics", wrong)
        await world.watch.pool.redeem(7)
        await world.watch.pool.anvil.mine(2)
        for _ in range(2):
            with pytest.raises(IncomeDiffers):
                await world.watch.look()
        await world.watch.look()
        assert not world.watch.said(TicketRedeemed)
        (verdict,) = world.watch.said(IncomeUnexplained)
        assert (verdict.expected, verdict.found) == (0, 7)


async def test_an_upgrade_stops_the_reading_until_it_is_named(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world, AsyncExitStack() as lives:
        watch = world.watch
        await watch.pool.redeem(1)
        new = STRANGER.address
        call = artifact("Controller").abi.call(
            "setContractInfo", bytes.fromhex(contract_id("TicketBrokerTarget")[2:]), new, b"\0" * 20
        )
        await send(watch.pool.anvil.client, OWNER, to=watch.pool.livepeer.controller, data=call)
        await watch.pool.redeem(2)
        with pytest.raises(ContractUpgraded, match=new):
            await watch.look()
        assert not watch.said(TicketRedeemed)
        watch.targets = (new,)
        await watch.start(lives, anvil_url)
        await watch.settle()
        assert world.income() == 3
