"""Incident 47, `livepeer657-face-value-not-received`: a ticket can be used up and pay a fraction, or nothing.

The redeemed event still names the full face value (livepeer/protocol #657, #663). Here income is what the transfer moved.
"""

from __future__ import annotations

import pytest

from chain.anvil import GATEWAY, GATEWAY_KEY, ORCHESTRATOR, STRANGER
from chain_watcher.watching import ETHER
from incidents.chain_world import NaiveWatcher, chain_world
from millpond.chain.errors import Reverted
from millpond.events.chain_revenue import IncomeReconciled, IncomeUnexplained, TicketRedeemed


async def test_a_ticket_brings_what_it_moved_and_the_gap_is_shown(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database, must_be_covered=False) as world:
        pool = world.watch.pool
        naive = NaiveWatcher(world, "WinningTicketRedeemed", pool.livepeer.broker, "faceValue")
        # The deposit of 100 ETH pays 99 and then all but a wei of the last one.
        await pool.redeem(99 * ETHER)
        await pool.redeem(ETHER - 1)
        await pool.redeem(ETHER)
        await pool.redeem(ETHER)
        await world.watch.settle()
        tickets = world.watch.said(TicketRedeemed, "final")
        assert [(each.face_value, each.amount) for each in tickets] == [
            (99 * ETHER, 99 * ETHER),
            (ETHER - 1, ETHER - 1),
            (ETHER, 1),
            (ETHER, 0),
        ]
        assert {each.sender for each in tickets} == {GATEWAY.address}
        assert world.income() == 100 * ETHER == await world.pending_fees()
        assert world.watch.said(IncomeReconciled)[-1].found == world.income()
        assert not world.watch.said(IncomeUnexplained)
        await naive.look()
        assert naive.income == 102 * ETHER - 1


async def test_where_a_ticket_must_be_covered_it_is_refused_and_stays_good(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        pool = world.watch.pool
        ticket = await pool.livepeer.ticket(
            GATEWAY.address, ORCHESTRATOR.address, face_value=101 * ETHER, sender_nonce=900
        )
        with pytest.raises(Reverted, match="insufficient sender funds"):
            await pool.livepeer.redeem(STRANGER, GATEWAY_KEY, ticket)
        await world.watch.settle()
        assert not world.watch.said(TicketRedeemed)
        await pool.livepeer.fund(GATEWAY, deposit=ETHER)
        await pool.livepeer.redeem(STRANGER, GATEWAY_KEY, ticket)
        await world.watch.settle()
        assert world.income() == 101 * ETHER
