"""Which orders fill the next slot, given what is in the wallet."""

from __future__ import annotations

from typing import Final

from millpond.chain.batch import Order, batch_digest
from millpond.events.chain_transfers import ETH
from millpond.events.event import Event
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.treasury_settlements import PaymentsStopped, PayoutHeld, SlotOrder, SlotPlanned
from millpond_treasury.rules.checks import objection
from millpond_treasury.rules.findings import Float
from millpond_treasury.rules.state import State, Treasury
from millpond_treasury.rules.turning import FOREIGN, held, instant

# Kept back for gas, above what a payment to a new account was measured to cost (36,500); the transaction is estimated
# before it is signed.
GAS_PER_SLOT: Final = 250_000
GAS_PER_ORDER: Final = 60_000
SHORT: Final = "The treasury's wallet lacks {shortfall} wei for this payment and its gas."


def planned(treasury: Treasury, state: State, found: Float) -> tuple[Event, ...]:
    """In the order of their epochs, each order that still fits; one that doesn't holds up nobody behind it."""
    as_of = instant(found.at_ms)
    if found.taken:
        sentence = FOREIGN.format(slot=state.next_slot)
        return (PaymentsStopped(slot=state.next_slot, reason="slot-foreign", sentence=sentence, as_of=as_of),)
    chosen: list[PayoutOrdered] = []
    recipients: set[str] = set()
    short: list[PayoutHeld] = []
    total, gas_cost = sum(state.committed.values()), GAS_PER_ORDER * found.fee_per_gas
    left = found.balance - GAS_PER_SLOT * found.fee_per_gas
    for waiting in sorted(state.waiting.values(), key=lambda each: _place(each.order)):
        order = waiting.order
        if state.unexplained or objection(treasury, state, order, before=total) is not None:
            continue
        # One order a recipient and slot: what he earned is compared with what was planned before.
        if len(chosen) == treasury.orders_max or order.recipient in recipients:
            continue
        if order.amount + gas_cost > left:
            why = ("insufficient-float", SHORT.format(shortfall=order.amount + gas_cost - left))
            short += held([order.payout], why, as_of) if waiting.said != why[0] else ()
            continue
        chosen.append(order)
        recipients.add(order.recipient)
        total += order.amount
        left -= order.amount + gas_cost
    return (*short, _plan(treasury, state, chosen, found)) if chosen else tuple(short)


def _place(order: PayoutOrdered) -> tuple[int, str]:
    return order.epoch, order.payout


def _plan(treasury: Treasury, state: State, chosen: list[PayoutOrdered], found: Float) -> SlotPlanned:
    epoch = max(order.proof.epoch for order in chosen)
    root = state.roots[epoch]
    return SlotPlanned(
        slot=state.next_slot,
        contract=treasury.contract,
        epoch=epoch,
        epoch_root=root,
        asset=treasury.ether,
        orders=tuple(
            SlotOrder(payout=order.payout, recipient=order.recipient, amount=order.amount) for order in chosen
        ),
        total=sum(order.amount for order in chosen),
        digest=batch_digest(
            chain_id=treasury.domain.chain_id,
            contract=treasury.contract,
            slot=state.next_slot,
            epoch_root=root,
            asset=ETH,
            orders=[Order(order.recipient, order.amount) for order in chosen],
        ),
        as_of=instant(found.at_ms),
    )
