"""Incident 45, `ozrelayer818-nonce-jam`, its core: a nonce is given with the signed bytes, and never skipped.

OpenZeppelin's relayer #818 and #843: a counter went up before signing and never came down; after one failure everything
behind the gap was stuck for ever.
"""

from __future__ import annotations

from typing import Any

from chain.anvil import TREASURY
from incidents.treasury_world import NaivePayer, error, treasury_world
from millpond.events.treasury_settlements import PayoutHeld, SlotSigned
from rewards.story import contributor

AMOUNTS = {contributor(number): 1_000 + number for number in range(6)}


class CountsBeforeSigning(NaivePayer):
    """The source: the counter is its own, and goes up first."""

    counter = 0

    async def pay(self, failing: str) -> None:
        (self.counter,) = await self.client.nonces(TREASURY.address, ["latest"])
        for who, amount in self.owed.items():
            nonce, self.counter = self.counter, self.counter + 1
            if who == failing:
                continue
            await self.client.broadcast((await self.sign(who, amount, nonce)).raw)


async def test_failures_losses_and_a_stall_leave_no_gap(anvil_url: str) -> None:
    async with treasury_world(anvil_url, orders_max=1) as world:
        world.order(AMOUNTS)
        (first,) = await world.anvil.client.nonces(TREASURY.address, ["latest"])
        troubles = {"eth_estimateGas": 3, "eth_sendRawTransaction": 0}

        def told(method: str, parameters: list[Any], answer: Any) -> Any:
            if troubles.get(method, 0):
                troubles[method] -= 1
                return error(answer, "try later")
            return answer

        world.proxy.told = told
        # Signing fails at first: nothing is counted, and the orders say why.
        await world.settle(2)
        assert troubles["eth_estimateGas"] == 0
        assert any(isinstance(each, PayoutHeld) and each.reason == "chain-away" for each in world.log)

        # The chain stalls: nothing is mined for 80 minutes, and fees are 200 times as high when it returns.
        async with world.stall():
            signed = await world.until_signed()
            for _ in range(80):
                await world.step()
                await world.pass_time(60)
                await world.step()
        versions = [each for each in world.log if isinstance(each, SlotSigned) and each.slot == signed.slot]
        assert {(each.nonce, each.digest) for each in versions} == {(signed.nonce, signed.digest)}
        assert max(each.version for each in versions) > 1
        assert len(world.all_settled()) == 2
        async with world.fee_of(200 * 10**9):
            settled = await world.settle(6)
        assert {each.recipient: each.amount for each in settled} == AMOUNTS
        assert {who: await world.balance(who) for who in AMOUNTS} == AMOUNTS
        (last,) = await world.anvil.client.nonces(TREASURY.address, ["latest"])
        assert last == first + len(AMOUNTS)


async def test_the_double_is_stuck_behind_its_gap(anvil_url: str) -> None:
    async with treasury_world(anvil_url) as world:
        await CountsBeforeSigning(world, AMOUNTS).pay(failing=contributor(2))
        await world.anvil.mine(3)
        assert [await world.balance(who) for who in AMOUNTS][2:] == [0, 0, 0, 0]
