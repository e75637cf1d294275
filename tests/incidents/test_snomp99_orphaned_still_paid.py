"""Incident 7, `snomp99-orphaned-still-paid`, chain_watcher's half: a payment in a block that is gone is not a payment.

s-nomp listed payouts as paid while the wallet said confirmations -1 (s-nomp #99). Here a slot is final when its block is.
"""

from __future__ import annotations

from chain.anvil import STRANGER, TREASURY
from incidents.chain_world import chain_world
from millpond.chain.answers import Log
from millpond.chain.client import EvmClient
from millpond.chain.deploy import send
from millpond.chain.payouts import PAYOUTS, Order
from millpond.events.chain_transfers import SlotFilled

AMOUNT = 356_812_609_300_000_000


class PaidWhenMined:
    """The source: a payment is paid once a node has shown it, for good."""

    def __init__(self, client: EvmClient) -> None:
        self._client = client
        self.paid: list[str] = []

    async def look(self, transaction: str) -> None:
        receipt = await self._client.receipt(transaction)
        if receipt is not None and transaction not in self.paid:
            self.paid.append(transaction)


async def test_a_payment_whose_block_is_gone_waits_and_is_final_once(anvil_url: str, database: str) -> None:
    async with chain_world(anvil_url, database) as world:
        watch, anvil = world.watch, world.watch.pool.anvil
        naive = PaidWhenMined(anvil.client)
        batch = await watch.pool.pay(1, Order(STRANGER.address, AMOUNT))
        await anvil.mine(1)
        await watch.look()
        (observed,) = watch.said(SlotFilled)
        await naive.look(observed.transaction)

        # Two instead of three: what is older is final on this chain.
        await anvil.reorganise(2)
        await watch.look()
        assert [each.finality for each in watch.said(SlotFilled)] == ["observed", "orphaned"]
        assert await anvil.client.receipt(observed.transaction) is None
        # The double goes on calling it paid.
        await naive.look(observed.transaction)
        assert naive.paid == [observed.transaction]

        # Another transaction comes first, so that the payment's log has another place in another block.
        await send(anvil.client, TREASURY, to=STRANGER.address, value=1)
        await watch.pool.pay(1, Order(STRANGER.address, AMOUNT))
        await watch.settle()
        (final,) = watch.said(SlotFilled, "final")
        assert final.block_hash != observed.block_hash
        assert final.digest == batch.digest()
        logs = await anvil.client.logs(
            watch.from_block,
            (await anvil.client.header("latest")).id,
            [watch.pool.payouts],
            [PAYOUTS.abi.topics["SlotFilled"]],
        )
        assert [_hash(log) for log in logs] == [final.block_hash]
        await watch.settle()
        assert watch.said(SlotFilled, "final") == [final]


def _hash(log: Log) -> str:
    return log.block_hash
