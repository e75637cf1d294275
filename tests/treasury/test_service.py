"""treasury as it runs: on Kafka, PostgreSQL and a chain; killed between any two steps, and lied to by the node."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from chain.anvil import KEYS, TREASURY, opened
from chain.proxy import before
from chain_watcher.watching import FINAL_BEHIND, laid
from conftest import OwnStack
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.treasury_settlements import (
    PayoutSettled,
    SlotBroadcast,
    SlotPlanned,
    SlotSigned,
)
from rewards.story import ANN, BEN, CAT
from stream import operators
from stream.workers import Worker, wait_until
from treasury.site import WITHIN_S, Site, balances
from treasury.story import ETHER, epoch, offered, ordered

pytestmark = pytest.mark.long


@pytest.fixture
async def site(own_stack: OwnStack, anvil_url: str, tmp_path: Path) -> AsyncIterator[Site]:
    """One order a slot: three slots, each with troubles of its own."""
    async with opened(anvil_url) as anvil, before(anvil_url) as proxy:
        pool = (await laid(anvil)).pool(anvil)
        from_block = (await anvil.client.header("latest")).number + 1
        site = Site(own_stack("kafka", "postgres"), pool, proxy, tmp_path, from_block, orders_max=1)
        await anvil.mine(FINAL_BEHIND)
        await site.open()
        mining = asyncio.create_task(site.blocks())
        try:
            yield site
        finally:
            mining.cancel()
            site.end()
            for worker in site.workers:
                print(f"--- {worker.log.name}\n{worker.log_tail()}")


async def test_each_contributor_is_paid_once_through_kills_and_lies(site: Site) -> None:
    await site.pool.redeem(2 * ETHER)
    start = await balances(site.pool, (ANN, BEN, CAT, TREASURY.address))
    sent: list[str] = []
    worker = site.pay()

    # The node kills it while it asks, while it signs, and once it has taken the bytes; it answers an error in between.
    kills = {"eth_getBalance": 1, "eth_estimateGas": 1, "eth_sendRawTransaction": 1}
    lies = [{"code": -32000, "message": "insufficient funds"}, {"code": -32000, "message": "nonce too low"}]
    current: list[Worker] = [worker]

    def told(method: str, parameters: list[Any], answer: Any) -> Any:
        if method == "eth_sendRawTransaction":
            sent.append(parameters[0])
        if kills.get(method, 0) and current[0].running:
            kills[method] -= 1
            current[0].kill()
        elif method == "eth_sendRawTransaction" and lies:
            return {"jsonrpc": "2.0", "id": answer["id"], "error": lies.pop()}
        return answer

    site.proxy.told = told
    await site.say(offered(), epoch().last(EpochClosed), epoch().last(Checkpoint), *ordered())

    async def all_settled() -> bool:
        if not current[0].running:
            current[0] = site.pay()
        return len(await site.heard(PayoutSettled)) >= 3

    await wait_until(all_settled, WITHIN_S)
    site.proxy.told = None
    settled, signed = await site.heard(PayoutSettled), await site.heard(SlotSigned)
    amounts = {order.contributor: order.amount for order in ordered()}
    assert {each.recipient: (each.amount, each.outcome) for each in settled} == {
        who: (amount, "paid") for who, amount in amounts.items()
    }
    assert len(settled) == 3
    assert [plan.slot for plan in await site.heard(SlotPlanned)] == [0, 1, 2]
    # What was sent is what was on the log before; each of the three is one transaction, with one nonce.
    assert set(sent) == {each.raw for each in signed}
    assert sorted({each.nonce for each in signed}) == [signed[0].nonce + n for n in range(3)]
    assert len({each.transaction for each in signed}) == 3
    assert not any(kills.values())
    assert await site.heard(SlotBroadcast)
    end = await balances(site.pool, start)
    assert {who: end[who] - start[who] for who in amounts} == amounts
    receipts = [await site.pool.anvil.client.receipt(each) for each in {each.transaction for each in signed}]
    gas = sum(receipt.gas_used * receipt.effective_gas_price for receipt in receipts if receipt is not None)
    assert end[TREASURY.address] == start[TREASURY.address] - sum(amounts.values()) - gas

    code, output = await site.millpond("fees", "withdraw", "--amount", str(ETHER))
    assert (code, "are in the treasury" in output) == (0, True), output
    assert (await balances(site.pool, [TREASURY.address]))[TREASURY.address] == end[TREASURY.address] + ETHER
    code, output = await site.millpond("fees", "withdraw", "--amount", str(ETHER), "--treasury", ANN)
    assert (code, "recipient-not-treasury" in output) == (1, True), output
    current[0].terminate()
    logged = "".join(worker.log_text() for worker in site.workers)
    assert not [key for key in KEYS if key.hex() in logged]
    assert operators.PASSWORD not in logged
