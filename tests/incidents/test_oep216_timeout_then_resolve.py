"""Incident 1, `oep216-timeout-then-resolve`: no answer is not "not sent".

open-ethereum-pool #216: the node took the payment, the answer timed out, the documented recovery credited it back, and the
next cycle paid again.
"""

from __future__ import annotations

from typing import Any

from incidents.treasury_world import NaivePayer, error, treasury_world
from millpond.chain.errors import ChainError
from millpond.events.treasury_settlements import SlotBroadcast, SlotSigned
from rewards.story import ANN

AMOUNT = 397_447_848_000_000_000


class ResolvesByCreditingBack(NaivePayer):
    """The source: what has no answer is pending; ``resolve`` puts the balance back without asking the chain."""

    async def pay(self) -> None:
        for who, amount in [*self.owed.items()]:
            del self.owed[who]
            self.pending = (who, amount)
            signed = await self.sign(who, amount)
            await self.client.broadcast(signed.raw)

    def resolve(self) -> None:
        who, amount = self.pending
        self.owed[who] = amount


def swallowed(method: str, parameters: list[Any], answer: Any) -> Any:
    """The node has the bytes; its answer never comes."""
    return error(answer, "504 Gateway Timeout") if method == "eth_sendRawTransaction" else answer


async def test_a_swallowed_answer_and_restarts_pay_once(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        world.order({ANN: AMOUNT})
        signed = await world.until_signed()
        world.proxy.told = swallowed
        # Handed over, killed; started again five times, before and after it is in a block.
        await world.step(dies="after")
        for _ in range(5):
            assert isinstance(await world.step(dies="after"), SlotSigned)
            await world.pass_time(1)
        (settled,) = await world.settle(1)
        assert (settled.outcome, settled.transaction) == ("paid", signed.transaction)
        assert await world.balance(ANN) == AMOUNT
        assert world.signed() == {signed.transaction}
        assert {each.answer for each in world.log if isinstance(each, SlotBroadcast)} == {"known"}


async def test_the_double_pays_twice(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        double = ResolvesByCreditingBack(world, {ANN: AMOUNT})
        world.proxy.told = swallowed
        for _ in range(2):
            try:
                await double.pay()
            except ChainError:
                double.resolve()
        assert await world.balance(ANN) == 2 * AMOUNT
