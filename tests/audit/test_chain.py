"""What was published, as chain_watcher says it of a real chain, against that chain."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from audit.topics import Pond
from chain.anvil import ORCHESTRATOR, TREASURY
from chain_watcher.conftest import foundation, lives, pool, proxy, watch  # noqa: F401 - fixtures
from chain_watcher.watching import ETHER, Watching
from millpond.chain.payouts import Order
from millpond.events.chain_revenue import IncomeReconciled
from millpond.events.on_chain import AtBlock
from millpond.events.rewards_payouts import PayoutOrdered
from millpond_cli.audit.chain import compare_with_chain
from millpond_cli.audit.difference import Difference
from millpond_cli.audit.logs import at_hand
from millpond_cli.audit.published import Said
from millpond_cli.audit.run import Audited, Plan, run_audit
from rewards.story import ANN, BEN, planned


async def test_every_income_and_payout_is_on_the_chain_and_what_is_not_is_named(
    watch: Watching,  # noqa: F811 - a fixture
    anvil_url: str,
) -> None:
    pond, told = Pond().begin().work(ANN, "a").work(BEN, "b"), 0
    for amount in (2, 3, 4):
        await watch.pool.redeem(amount * ETHER)
    await watch.pool.livepeer.withdraw_fees(ORCHESTRATOR, TREASURY.address, 5 * ETHER)
    told = await tell(pond, watch, told)
    pond.close()
    pond.wait(100)
    orders = pond.all(PayoutOrdered)
    batch = await watch.pool.pay(0, *(Order(order.recipient, order.amount) for order in orders))
    facts = {"contract": batch.contract, "epoch_root": batch.epoch_root, "digest": batch.digest()}
    pond.tell(planned(0, orders).model_copy(update=facts))
    await tell(pond, watch, told)
    pond.close()

    def audited() -> Audited:
        log = pond.log()
        return run_audit(lambda: at_hand(log), Plan("memory", processes=1))

    sound = await asyncio.to_thread(audited)
    compared = await asyncio.to_thread(compare_with_chain, anvil_url, sound)
    expected = {"tickets": 3, "income": str(9 * ETHER), "withdrawals": 1, "slots": 1, "pending_fees": str(4 * ETHER)}
    assert compared == {**compared, **expected}

    tickets, (slot,) = list(sound.books.tickets), sound.settled.filled.values()
    more = sound.books.tickets[tickets[1]].event.amount + 1
    for wrong, told_why in (
        (with_tickets(sound, changed(sound.books.tickets, tickets[1], amount=more)), f"amount {more}"),
        (with_tickets(sound, {k: v for k, v in sound.books.tickets.items() if k != tickets[1]}), "was not published"),
        (with_slot(sound, Said(slot.event.model_copy(update={"total": 1}), slot.record)), "total 1"),
        (
            with_slot(sound, Said(slot.event.model_copy(update={"transaction": "0x" + "11" * 32}), slot.record)),
            "no such",
        ),
        (with_reconciled(sound, 4 * ETHER + 1), "pending fees"),
    ):
        with pytest.raises(Difference, match=told_why):
            await asyncio.to_thread(compare_with_chain, anvil_url, wrong)


async def tell(pond: Pond, watch: Watching, told: int) -> int:  # noqa: F811 - a fixture's value
    """All that the watcher says of the chain as it is now stands on the pond's topics."""
    await watch.settle()
    said = watch.said(AtBlock)
    pond.tell(*said[told:])
    return len(said)


def changed(said: Mapping[str, Said[Any]], key: str, **facts: object) -> dict[str, Said[Any]]:
    return {**said, key: Said(said[key].event.model_copy(update=facts), said[key].record)}


def with_tickets(sound: Audited, tickets: dict[str, Said[Any]]) -> Audited:
    return replace(sound, books=replace(sound.books, tickets=tickets))


def with_slot(sound: Audited, slot: Said[Any]) -> Audited:
    return replace(sound, settled=replace(sound.settled, filled={0: slot}))


def with_reconciled(sound: Audited, found: int) -> Audited:
    known = sound.books.reconciled
    assert known is not None
    assert isinstance(known.event, IncomeReconciled)
    reconciled = Said(known.event.model_copy(update={"found": found}), known.record)
    return replace(sound, books=replace(sound.books, reconciled=reconciled))
