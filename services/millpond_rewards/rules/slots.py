"""What becomes of orders once treasury has planned them: paid, or back to whom they are owed. Order of arrival is free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled
from millpond.events.treasury_settlements import SlotPlanned
from millpond_rewards.rules.bookings import of_payment, of_stage
from millpond_rewards.rules.state import Payout, Slot, State

Key = TypeVar("Key")
Row = TypeVar("Row")


def on_planned(state: State, planned: SlotPlanned) -> State:
    """Its orders are in flight. One that was never given, or has another recipient or amount, is a conflict."""
    known = state.slots.get(planned.slot, Slot())
    if known.planned not in (None, planned.digest):
        return _conflict(state, f"Slot {planned.slot} was planned twice, with other orders.")
    orders = tuple((order.payout, order.recipient, order.amount) for order in planned.orders)
    for payout, recipient, amount in orders:
        given = state.payouts.get(payout)
        if given is None or (given.recipient, given.amount, given.stage) != (recipient, amount, "payable"):
            return _conflict(state, f"Slot {planned.slot} pays {payout}, which is not ordered like that.")
        state = _staged(state, replace(given, stage="in-flight"))
    return _settled(
        _with_slot(state, planned.slot, replace(known, planned=planned.digest, orders=orders)), planned.slot
    )


def on_filled(state: State, filled: SlotFilled) -> State:
    """``filled`` is final."""
    known = state.slots.get(filled.slot, Slot())
    slot = replace(known, filled=filled.digest, unpaid_total=filled.unpaid_total)
    return _settled(_with_slot(state, filled.slot, slot), filled.slot)


def on_unpaid(state: State, event: PayeeUnpaid) -> State:
    """``event`` is final: the amount stayed with the pool, and is still owed."""
    known = state.slots.get(event.slot, Slot())
    slot = replace(known, unpaid={**known.unpaid, event.index: event.amount})
    return _settled(_with_slot(state, event.slot, slot), event.slot)


def unplanned(state: State) -> int | None:
    """A slot that the chain has filled and treasury, as far as it was read, has not planned."""
    return next((number for number, slot in sorted(state.slots.items()) if slot.filled and not slot.planned), None)


def _settled(state: State, number: int) -> State:
    """Once everything about a slot is there: planned, filled, and each payee that could not take its payment."""
    slot = state.slots[number]
    if slot.planned is None or slot.filled is None or sum(slot.unpaid.values()) != slot.unpaid_total:
        return state
    if slot.planned != slot.filled:
        return _conflict(state, f"Slot {number} was filled with other orders than were planned.")
    for index, (payout, _, _) in enumerate(slot.orders):
        given = state.payouts[payout]
        state = _returned(state, number, given) if index in slot.unpaid else _paid(state, number, given)
    return replace(state, slots=_without(state.slots, number))


def _paid(state: State, slot: int, payout: Payout) -> State:
    account = state.accounts[payout.share]
    unpaid = {epoch: amount for epoch, amount in account.unpaid.items() if epoch not in payout.epochs}
    return replace(
        state,
        accounts={**state.accounts, payout.share: replace(account, unpaid=unpaid)},
        payouts=_without(state.payouts, payout.payout),
        ledger=state.ledger.post([of_payment(slot, payout)]),
    )


def _returned(state: State, slot: int, payout: Payout) -> State:
    """Owed as before; the next order names the same statements again. Not at once: he must be able to change something."""
    account = state.accounts[payout.share]
    back = of_stage(f"PayeeUnpaid {slot}", payout, before="in-flight", after="pending")
    return replace(
        state,
        accounts={**state.accounts, payout.share: replace(account, ordered=account.ordered - payout.amount)},
        payouts=_without(state.payouts, payout.payout),
        ledger=state.ledger.post([back]),
    )


def _staged(state: State, payout: Payout) -> State:
    posting = of_stage("SlotPlanned", payout, before="payable", after="in-flight")
    return replace(state, payouts={**state.payouts, payout.payout: payout}, ledger=state.ledger.post([posting]))


def _with_slot(state: State, number: int, slot: Slot) -> State:
    return replace(state, slots={**state.slots, number: slot})


def _conflict(state: State, sentence: str) -> State:
    """Nobody is paid until a person has looked: the first conflict is kept."""
    return replace(state, conflict=state.conflict or sentence)


def _without(rows: Mapping[Key, Row], key: Key) -> dict[Key, Row]:
    return {each: row for each, row in rows.items() if each != key}
