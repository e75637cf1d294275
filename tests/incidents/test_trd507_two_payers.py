"""Incident 10, `trd507-two-payers`: two copies are one payer.

tezos-reward-distributor #507: the operator ran two copies, and both paid the cycle.
"""

from __future__ import annotations

from incidents.treasury_world import NaivePayer, treasury_world
from millpond.events.treasury_settlements import PaymentsStopped
from rewards.story import contributor

AMOUNTS = {contributor(number): amount for number, amount in enumerate((1, 10**15, 10**18, 10**19))}


class PaysWhatItOwes(NaivePayer):
    """The source: a copy with books of its own."""

    async def pay(self) -> None:
        for who, amount in self.owed.items():
            await self.client.broadcast((await self.sign(who, amount)).raw)


async def test_a_copy_of_an_hour_ago_stops_before_it_signs(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        world.order(AMOUNTS)
        stale = world.copy()
        await world.settle(4)
        # It knows the orders, and nothing of what became of them.
        for _ in range(20):
            await stale.step()
        (stopped,) = [each for each in stale.log if isinstance(each, PaymentsStopped)]
        assert stopped.reason == "slot-foreign"
        assert not stale.signed()
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS


async def test_two_that_sign_the_same_slot_fill_it_once(anvil_url: str) -> None:
    """The lease lets one sign; if it ever failed, the contract still takes one of the two."""
    async with treasury_world(anvil_url) as world:
        world.order(AMOUNTS)
        await world.until_signed()
        second = world.copy()
        await second.step()
        await world.settle(4)
        await second.settle(4)
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        assert len(world.signed() | second.signed()) == 1


async def test_two_doubles_pay_twice(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        for _ in range(2):
            await PaysWhatItOwes(world, AMOUNTS).pay()
        assert await world.balance(contributor(0)) == 2
