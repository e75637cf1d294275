"""The watcher over a real chain: nothing missed, nothing twice, whatever happens to the chain, the node or itself."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from chain.anvil import ORCHESTRATOR, OWNER, STRANGER, TREASURY, hostile
from chain.proxy import Proxy
from chain_watcher.watching import ETHER, Watching
from millpond.chain.deploy import deploy, send
from millpond.chain.errors import ChainError
from millpond.chain.payouts import Order
from millpond.events.chain_revenue import (
    ClaimableSnapshot,
    CutsChanged,
    FeesWithdrawn,
    IncomeReconciled,
    IncomeUnexplained,
    RewardMinted,
    RoundStarted,
    TicketRedeemed,
)
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.stream.database import LeaseLost
from millpond_chain_watcher.reading import TransactionsMissing
from millpond_chain_watcher.rules import SightingMissing
from millpond_chain_watcher.watcher import FinalBlockVanished, IncomeDiffers


async def test_a_ticket_is_observed_and_then_final(watch: Watching) -> None:
    receipt = await watch.pool.redeem(ETHER // 2)
    await watch.look()
    (observed,) = watch.said(TicketRedeemed)
    assert observed.finality == "observed"
    assert observed.transaction == receipt.transaction_hash
    assert (observed.amount, observed.face_value) == (ETHER // 2, ETHER // 2)
    await watch.settle()
    first, second = watch.said(TicketRedeemed)
    assert second == first.model_copy(update={"finality": "final"})


async def test_all_that_livepeer_tells_of_the_orchestrator_is_said(watch: Watching) -> None:
    livepeer = watch.pool.livepeer
    await livepeer.start_round(OWNER)
    await livepeer.reward(ORCHESTRATOR)
    await livepeer.register(ORCHESTRATOR, reward_cut=250_000)
    await watch.pool.redeem(3 * ETHER)
    await livepeer.withdraw_fees(ORCHESTRATOR, TREASURY.address, 2 * ETHER)
    await livepeer.register(STRANGER, reward_cut=1)
    await watch.settle()
    assert [each.round for each in watch.said(RoundStarted, "final")] == [2]
    assert [each.amount for each in watch.said(RewardMinted, "final")] == [ETHER]
    assert [(each.reward_cut, each.fee_share) for each in watch.said(CutsChanged, "final")] == [(250_000, 0)]
    (withdrawn,) = watch.said(FeesWithdrawn, "final")
    assert (withdrawn.recipient, withdrawn.amount) == (TREASURY.address, 2 * ETHER)
    snapshot, verdict = watch.said(ClaimableSnapshot)[-1], watch.said(IncomeReconciled)[-1]
    assert (snapshot.pending_fees, snapshot.pending_stake) == (ETHER, ETHER)
    assert verdict.expected == verdict.found == ETHER


async def test_slots_and_treasurys_transactions_are_said_foreign_ones_too(watch: Watching) -> None:
    villain = await deploy(watch.pool.anvil.client, OWNER, hostile("Reverts"))
    before = await watch.pool.anvil.client.balance(TREASURY.address, "latest")
    batch = await watch.pool.pay(1, Order(STRANGER.address, 5), Order(villain, 7))
    await send(watch.pool.anvil.client, TREASURY, to=STRANGER.address, value=1)
    await watch.settle()
    (filled,) = watch.said(SlotFilled, "final")
    assert (filled.slot, filled.digest, filled.total, filled.payees, filled.unpaid_total) == (
        1,
        batch.digest(),
        12,
        2,
        7,
    )
    (unpaid,) = watch.said(PayeeUnpaid, "final")
    assert (unpaid.index, unpaid.recipient, unpaid.amount) == (1, villain, 7)
    payment, foreign = watch.said(TreasuryTransaction, "final")
    assert (payment.transaction, foreign.to, foreign.value) == (filled.transaction, STRANGER.address, 1)
    assert foreign.nonce == payment.nonce + 1
    # The wallet is what the events say, to the wei.
    moved = filled.unpaid_total - filled.total - payment.gas_paid - foreign.value - foreign.gas_paid
    assert await watch.pool.anvil.client.balance(TREASURY.address, "latest") == before + moved


async def test_a_failed_transaction_costs_gas_and_moves_nothing(watch: Watching) -> None:
    villain = await deploy(watch.pool.anvil.client, OWNER, hostile("Reverts"))
    before = await watch.pool.anvil.client.balance(TREASURY.address, "latest")
    with pytest.raises(Exception, match="reverted"):
        await send(watch.pool.anvil.client, TREASURY, to=villain, value=5, gas=100_000)
    await watch.settle()
    (failed,) = watch.said(TreasuryTransaction, "final")
    assert (failed.succeeded, failed.value) == (False, 0)
    assert await watch.pool.anvil.client.balance(TREASURY.address, "latest") == before - failed.gas_paid


async def test_what_a_reorganisation_removes_is_orphaned_and_what_comes_back_is_new(watch: Watching) -> None:
    await watch.pool.redeem(ETHER)
    await watch.look()
    await watch.pool.anvil.reorganise(1)
    await watch.look()
    observed, orphaned = watch.said(TicketRedeemed)
    assert orphaned == observed.model_copy(update={"finality": "orphaned"})
    await watch.pool.redeem(ETHER)
    await watch.settle()
    (final,) = watch.said(TicketRedeemed, "final")
    assert final.block_hash != observed.block_hash
    assert watch.said(IncomeReconciled)[-1].found == ETHER
    assert not watch.said(IncomeUnexplained)


async def test_a_final_block_that_vanishes_stops_everything(watch: Watching) -> None:
    await watch.pool.redeem(ETHER)
    await watch.settle()
    await watch.pool.anvil.reorganise(4)
    said = len(watch.said(TicketRedeemed))
    with pytest.raises(FinalBlockVanished):
        await watch.look()
    assert len(watch.said(TicketRedeemed)) == said


async def test_a_new_process_goes_on_where_the_last_one_died(
    watch: Watching, lives: AsyncExitStack, anvil_url: str
) -> None:
    for amount in range(1, 6):
        await watch.pool.redeem(amount)
        await watch.start(lives, anvil_url)
        await watch.look()
    await watch.settle()
    assert [each.amount for each in watch.said(TicketRedeemed, "final")] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("meanwhile", ["nothing", "the block has gone"])
async def test_what_was_stored_and_not_published_is_published_by_the_next(
    watch: Watching, lives: AsyncExitStack, anvil_url: str, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    await watch.pool.redeem(ETHER)

    async def dies(*_: object) -> None:
        raise ConnectionError("killed between the database and Kafka")

    with monkeypatch.context() as patch:
        patch.setattr("millpond.stream.source.Source.publish", dies)
        with pytest.raises(ConnectionError):
            await watch.look()
    assert not watch.said(TicketRedeemed)
    if meanwhile != "nothing":
        # What was stored must be said first, or it would never be orphaned.
        await watch.pool.anvil.reorganise(1)
    await watch.start(lives, anvil_url)
    await watch.look()
    said = ["observed"] if meanwhile == "nothing" else ["observed", "orphaned"]
    assert [each.finality for each in watch.said(TicketRedeemed)] == said


async def test_a_watcher_that_died_before_it_took_out_what_it_sent_says_it_once(
    watch: Watching, lives: AsyncExitStack, anvil_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await watch.pool.redeem(ETHER)

    async def dies(*_: object) -> None:
        raise ConnectionError("killed between Kafka and the database")

    with monkeypatch.context() as patch:
        patch.setattr("millpond_chain_watcher.store.WatcherStore.sent", dies)
        with pytest.raises(ConnectionError):
            await watch.look()
    await watch.start(lives, anvil_url)
    await watch.settle()
    assert [each.finality for each in watch.said(TicketRedeemed)] == ["observed", "final"]


async def test_catching_up_in_small_ranges_says_the_same(
    watch: Watching, lives: AsyncExitStack, anvil_url: str
) -> None:
    for amount in range(1, 12):
        await watch.pool.redeem(amount)
    await watch.pool.pay(9, Order(STRANGER.address, 1))
    await watch.pool.anvil.mine(10)
    watch.range_blocks_max = 3
    await watch.start(lives, anvil_url)
    await watch.look()
    await watch.settle()
    assert [each.amount for each in watch.said(TicketRedeemed, "final")] == list(range(1, 12))
    assert len(watch.said(TicketRedeemed, "observed")) == 11
    assert watch.said(IncomeReconciled)[-1].found == sum(range(1, 12))
    assert len(watch.said(TreasuryTransaction, "final")) == 1


async def test_a_difference_is_looked_at_again_before_it_is_said(watch: Watching, proxy: Proxy) -> None:
    # Fees shared with delegators leave the orchestrator less than the tickets moved.
    await watch.pool.livepeer.register(ORCHESTRATOR, fee_share=100_000)
    await watch.pool.redeem(1_000_000)
    await watch.pool.anvil.mine(2)
    for _ in range(2):
        with pytest.raises(IncomeDiffers):
            await watch.look()
    assert not watch.said(IncomeUnexplained)
    await watch.look()
    (verdict,) = watch.said(IncomeUnexplained)
    assert (verdict.expected, verdict.found) == (1_000_000, 900_000)


BROKEN = {
    "nothing": web.Response(text=""),
    "null": web.Response(text="null"),
    "half": web.Response(text='[{"jsonrpc": "2.0", "id": 1, "resu'),
    "a page": web.Response(text="<html>busy</html>"),
    "an error": web.Response(status=503, text="{}"),
    "one error for all": web.Response(text='{"jsonrpc":"2.0","id":null,"error":{"code":-32005,"message":"slow down"}}'),
    "an empty list": web.Response(text="[]"),
}


async def test_a_node_that_answers_nonsense_is_asked_again_and_nothing_moves(watch: Watching, proxy: Proxy) -> None:
    await watch.pool.redeem(ETHER)
    for body in BROKEN.values():
        proxy.body = body
        with pytest.raises(ChainError):
            await watch.look()
    proxy.body = None
    await watch.settle()
    assert [each.finality for each in watch.said(TicketRedeemed)] == ["observed", "final"]


def without_logs(method: str, _: list[Any], answer: Any) -> Any:
    """A node that has the blocks, and has lost its index of logs."""
    return answer | {"result": []} if method == "eth_getLogs" else answer


async def test_what_the_first_look_was_not_shown_is_found_before_it_is_money(watch: Watching, proxy: Proxy) -> None:
    await watch.pool.redeem(ETHER)
    proxy.told = without_logs
    await watch.look()
    assert not watch.said(TicketRedeemed)
    proxy.told = None
    await watch.settle()
    assert [each.finality for each in watch.said(TicketRedeemed)] == ["observed", "final"]
    assert not watch.said(IncomeUnexplained)


async def test_what_the_last_look_is_not_shown_is_not_believed_to_be_gone(watch: Watching, proxy: Proxy) -> None:
    await watch.pool.redeem(ETHER)
    await watch.look()
    await watch.pool.anvil.mine(2)
    proxy.told = without_logs
    with pytest.raises(SightingMissing):
        await watch.look()
    assert [each.finality for each in watch.said(TicketRedeemed)] == ["observed"]
    proxy.told = None
    await watch.look()
    assert [each.finality for each in watch.said(TicketRedeemed)] == ["observed", "final"]


async def test_a_transaction_of_treasurys_that_the_blocks_do_not_show_is_asked_for_again(
    watch: Watching, proxy: Proxy
) -> None:
    await send(watch.pool.anvil.client, TREASURY, to=STRANGER.address, value=1)

    def without_transactions(method: str, parameters: list[Any], answer: Any) -> Any:
        if method == "eth_getBlockByNumber" and parameters[1]:
            return answer | {"result": answer["result"] | {"transactions": []}}
        return answer

    proxy.told = without_transactions
    with pytest.raises(TransactionsMissing):
        await watch.look()
    proxy.told = None
    await watch.settle()
    assert [each.finality for each in watch.said(TreasuryTransaction)] == ["observed", "final"]


async def test_a_zombie_that_lost_its_lease_changes_nothing(watch: Watching) -> None:
    await watch.pool.redeem(ETHER)
    await watch.database.release_lease(watch.lease)
    assert await watch.database.try_lease("watcher", "another", 600) is not None
    with pytest.raises(LeaseLost):
        await watch.look()
    assert not watch.said(TicketRedeemed)
