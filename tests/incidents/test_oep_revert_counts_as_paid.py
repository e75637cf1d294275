"""Incident 8, `oep-revert-counts-as-paid`, treasury's half: what a payee can't take was not paid.

open-ethereum-pool writes a payment as paid before it is mined; if it reverts, a log line is all that happens.
"""

from __future__ import annotations

from chain.anvil import OWNER, hostile
from incidents.treasury_world import NaivePayer, treasury_world
from millpond.chain.deploy import deploy
from millpond.events.treasury_settlements import SlotSigned
from rewards.story import ANN

ETHER = 10**18


class PaidWhenSent(NaivePayer):
    """The source: it was sent, so it is paid."""

    async def pay(self) -> list[str]:
        paid = []
        for who, amount in self.owed.items():
            await self.client.broadcast((await self.sign(who, amount)).raw)
            paid.append(who)
        return paid


async def test_a_payee_that_reverts_is_returned_and_the_others_are_paid(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        needs_gas = await deploy(world.anvil.client, OWNER, hostile("Thirsty"))
        reverts = await deploy(world.anvil.client, OWNER, hostile("Reverts"))
        start = await world.balance(world.treasury.address)
        world.order({needs_gas: ETHER, reverts: ETHER, ANN: ETHER})
        outcomes = {each.recipient: (each.outcome, each.reason) for each in await world.settle(3)}
        assert outcomes == {
            needs_gas: ("paid", None),
            reverts: ("returned", "payee-reverts"),
            ANN: ("paid", None),
        }
        assert await world.balance(needs_gas) == ETHER
        assert await world.balance(reverts) == 0
        assert start - await world.balance(world.treasury.address) == 2 * ETHER + await world.gas_paid()
        # Nothing is tried again by itself: rewards orders it anew, when it may work.
        for _ in range(50):
            await world.step()
        assert len([each for each in world.log if isinstance(each, SlotSigned)]) == 1
        assert world.state.committed[reverts] == 0


async def test_the_double_calls_it_paid(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        reverts = await deploy(world.anvil.client, OWNER, hostile("Reverts"))
        assert await PaidWhenSent(world, {reverts: ETHER}).pay() == [reverts]
        assert await world.balance(reverts) == 0
