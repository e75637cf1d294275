"""Incident 49, `explorer108-miningcore475-attribution`: income is ours by emitter and recipient, not by who sent it.

livepeer/explorer #108 did not show tickets that another key redeemed; miningcore #475 paid a stranger by a guess.
"""

from __future__ import annotations

from chain.anvil import GATEWAY, ORCHESTRATOR, OWNER, STRANGER, hostile
from incidents.chain_world import NaiveWatcher, chain_world
from millpond.chain.deploy import deploy, send
from millpond.chain.livepeer import contract_id
from millpond.events.chain_revenue import TicketRedeemed
from millpond_demo.livepeer.protocol import artifact


async def test_a_transfer_counts_by_its_emitter_and_its_recipient(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        pool = world.watch.pool
        client = pool.anvil.client
        by_topic = NaiveWatcher(world, "WinningTicketTransfer", None)
        look_alike = await deploy(client, OWNER, hostile("LookAlike"))
        # A foreign redeemer; then two equal ones in one transaction; then ours for somebody else; then a forgery.
        await pool.redeem(1_000, by=STRANGER)
        await pool.redeem(200, count=2, by=STRANGER)
        await pool.redeem(30_000, recipient=STRANGER, by=ORCHESTRATOR)
        forged = hostile("LookAlike").abi.call("pretend", ORCHESTRATOR.address, 4_000_000)
        await send(client, OWNER, to=look_alike, data=forged)
        await world.watch.settle()
        assert [each.amount for each in world.watch.said(TicketRedeemed, "final")] == [1_000, 200, 200]
        assert world.income() == await world.pending_fees()
        assert len({each.ticket for each in world.watch.said(TicketRedeemed, "final")}) == 3
        await by_topic.look()
        assert by_topic.income == 4_001_400


async def test_the_broker_is_the_one_that_the_controller_named_at_that_block(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        pool = world.watch.pool
        configured = NaiveWatcher(world, "WinningTicketTransfer", pool.livepeer.broker)
        await pool.redeem(1)
        pool.livepeer = await pool.livepeer.move_broker(OWNER)
        await pool.livepeer.fund(GATEWAY, deposit=10)
        await pool.redeem(2)
        await world.watch.settle()
        assert [each.amount for each in world.watch.said(TicketRedeemed, "final")] == [1, 2]
        assert world.income() == await world.pending_fees()
        await configured.look()
        assert configured.income == 1


async def test_a_contract_that_had_the_name_for_a_while_counts_for_that_while_only(
    anvil_url: str, database: str
) -> None:
    async with chain_world(anvil_url, database) as world:
        pool = world.watch.pool
        client, controller = pool.anvil.client, artifact("Controller").abi
        look_alike = await deploy(client, OWNER, hostile("LookAlike"))
        forged = hostile("LookAlike").abi.call("pretend", ORCHESTRATOR.address, 4_000_000)
        broker_id = bytes.fromhex(contract_id("TicketBroker")[2:])
        # Before and after it was named, all within one look.
        await send(client, OWNER, to=look_alike, data=forged)
        for address in (look_alike, pool.livepeer.broker):
            name = controller.call("setContractInfo", broker_id, address, b"\0" * 20)
            await send(client, OWNER, to=pool.livepeer.controller, data=name)
        await send(client, OWNER, to=look_alike, data=forged)
        await pool.redeem(5)
        await world.watch.settle()
        assert world.income() == 5 == await world.pending_fees()
