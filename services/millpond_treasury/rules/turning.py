"""What is done next, at a tick: one thing at a time, the one on its way before all others."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from millpond.events.event import Event
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalRefused,
    FloatAsked,
    PaymentsStopped,
    PayoutHeld,
    PayoutSettled,
    SlotSigningAsked,
)
from millpond_treasury.rules.checks import Objection, objection
from millpond_treasury.rules.state import (
    SlotOnItsWay,
    State,
    Treasury,
    Withdrawal,
    WithdrawalOnItsWay,
)

UNEXPLAINED: Objection = ("income-unexplained", "Income on the chain does not add up; nobody is paid until it does.")
UNREAD: Objection = (
    "inputs-stopped",
    "Something that treasury must know before it pays could not be read; the operator has to look after it.",
)
NO_KEY = (
    "The orchestrator's key is not with the treasury. Name it in MILLPOND_TREASURY_ORCHESTRATOR_KEYSTORE, or withdraw "
    "with it elsewhere."
)
NOT_TREASURY = "Fees are withdrawn to the treasury, {treasury}, and not to {recipient}."
FAILED = "The transaction failed, or another one took its nonce: it withdrew nothing. Give the order again."
UNPAID: Objection = ("payee-reverts", "The recipient could not take it; the amount is owed as before.")
FOREIGN = (
    "Slot {slot} of the payout contract was filled by somebody else, or by a treasury whose records this one lacks."
)
OTHER_ORDERS = "Slot {slot} was filled with other orders than were planned."


def due_ms(state: State) -> int | None:
    """When there is something to do, if nothing is heard before; 0: now."""
    if state.stopped or state.float_asked:
        return None
    if _trouble(state) is not None:
        return 0
    slot, withdrawal = state.slot, state.withdrawal
    if slot is not None:
        return _due_of_slot(state, slot)
    if withdrawal is not None and not withdrawal.failed:
        return None if withdrawal.sending.asked else withdrawal.sending.again_ms
    if withdrawal is not None or state.withdrawals:
        return 0
    return state.look_ms if state.waiting else None


def turn(treasury: Treasury, state: State, now_ms: int) -> tuple[Event, ...]:
    """What follows now that it is due. Nothing: who waits has been told why."""
    as_of = instant(now_ms)
    if (trouble := _trouble(state)) is not None:
        slot, reason, sentence = trouble
        return (PaymentsStopped(slot=slot, reason=reason, sentence=sentence, as_of=as_of),)
    if state.slot is not None:
        return _of_slot(treasury, state, state.slot, now_ms)
    if state.withdrawal is not None:
        return (_of_withdrawal(treasury, state.withdrawal, now_ms),)
    if state.withdrawals:
        return (_begun(treasury, state, state.withdrawals[0], as_of),)
    return _looked_at(treasury, state, as_of)


def begins(state: State) -> bool:
    """What is next would begin a payment: nothing of it has left yet."""
    if state.slot is not None:
        return state.slot.signed is None and not state.slot.complete
    return bool(state.waiting) and state.withdrawal is None and not state.withdrawals


def unread(state: State, now_ms: int) -> tuple[PayoutHeld, ...]:
    """Instead of beginning one, while an input is stopped: it may say that nobody must be paid."""
    slot = state.slot
    if slot is not None:
        payouts = [order.payout for order in slot.plan.orders] if slot.sending.said != UNREAD[0] else []
    else:
        payouts = sorted(payout for payout, waiting in state.waiting.items() if waiting.said != UNREAD[0])
    return held(payouts, UNREAD, instant(now_ms))


def instant(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


def held(payouts: Iterable[str], why: Objection, as_of: datetime) -> tuple[PayoutHeld, ...]:
    reason, sentence = why
    return tuple(PayoutHeld(payout=payout, reason=reason, sentence=sentence, as_of=as_of) for payout in payouts)


def _trouble(state: State) -> tuple[int, str, str] | None:
    """What the chain says and can't be, if that is so."""
    if state.foreign_slot is not None:
        return state.foreign_slot, "slot-foreign", FOREIGN.format(slot=state.foreign_slot)
    slot = state.slot
    if slot is None or slot.filled is None or slot.filled.finality != "final":
        return None
    if slot.filled.digest != slot.plan.digest:
        return slot.plan.slot, "slot-digest-differs", OTHER_ORDERS.format(slot=slot.plan.slot)
    return None


def _due_of_slot(state: State, slot: SlotOnItsWay) -> int | None:
    if slot.complete:
        return 0
    if slot.filled is not None or slot.sending.asked:
        return None
    if slot.signed is None and state.unexplained:
        return None if slot.sending.said == UNEXPLAINED[0] else 0
    return slot.sending.again_ms


def _of_slot(treasury: Treasury, state: State, slot: SlotOnItsWay, now_ms: int) -> tuple[Event, ...]:
    as_of = instant(now_ms)
    if slot.complete:
        return _settlement(slot, as_of)
    if slot.signed is None and state.unexplained:
        return held([order.payout for order in slot.plan.orders], UNEXPLAINED, as_of)
    late = now_ms >= slot.sending.signed_ms + treasury.bump_after_ms
    if slot.signed is not None and not slot.nonce_used and not late:
        # Said again, it goes out again.
        return (slot.signed,)
    plan, signed = slot.plan, slot.signed
    return (
        SlotSigningAsked(
            version=1 if signed is None else signed.version + 1,
            nonce=None if signed is None or slot.nonce_used else signed.nonce,
            nonce_min=state.account_nonce,
            fee_per_gas_above=0 if signed is None or slot.nonce_used else signed.fee_per_gas_max,
            priority_fee_above=0 if signed is None or slot.nonce_used else signed.priority_fee_per_gas,
            as_of=as_of,
            slot=plan.slot,
            contract=plan.contract,
            epoch_root=plan.epoch_root,
            asset=plan.asset,
            orders=plan.orders,
            digest=plan.digest,
            reverts=slot.reverts,
        ),
    )


def _settlement(slot: SlotOnItsWay, as_of: datetime) -> tuple[PayoutSettled, ...]:
    assert slot.filled is not None
    return tuple(
        PayoutSettled(
            payout=order.payout,
            recipient=order.recipient,
            asset=slot.plan.asset,
            amount=order.amount,
            outcome="returned" if index in slot.unpaid else "paid",
            slot=slot.plan.slot,
            transaction=slot.filled.transaction,
            reason=UNPAID[0] if index in slot.unpaid else None,
            sentence=UNPAID[1] if index in slot.unpaid else "",
            as_of=as_of,
        )
        # A log may hold some of them, and a lost database none.
        for index, order in list(enumerate(slot.plan.orders))[slot.settled :]
    )


def _of_withdrawal(treasury: Treasury, own: WithdrawalOnItsWay, now_ms: int) -> Event:
    signed, asked, as_of = own.signed, own.asked, instant(now_ms)
    if own.failed:
        return _refused(
            Withdrawal(asked.withdrawal, asked.amount, asked.recipient, asked.signer, asked.command_nonce),
            ("withdrawal-failed", FAILED),
            as_of,
        )
    late = now_ms >= own.sending.signed_ms + treasury.bump_after_ms
    if signed is None:
        return asked.model_copy(update={"as_of": as_of})
    if not late:
        return signed
    return asked.model_copy(
        update={
            "version": signed.version + 1,
            "nonce": signed.nonce,
            "fee_per_gas_above": signed.fee_per_gas_max,
            "priority_fee_above": signed.priority_fee_per_gas,
            "as_of": as_of,
        }
    )


def _begun(treasury: Treasury, state: State, withdrawal: Withdrawal, as_of: datetime) -> Event:
    if not treasury.withdraws:
        return _refused(withdrawal, ("orchestrator-key-missing", NO_KEY), as_of)
    if withdrawal.recipient != treasury.address:
        sentence = NOT_TREASURY.format(treasury=treasury.address, recipient=withdrawal.recipient)
        return _refused(withdrawal, ("recipient-not-treasury", sentence), as_of)
    if withdrawal.amount == 0:
        return _refused(withdrawal, ("nothing-asked", "The order is over 0 wei."), as_of)
    return FeesWithdrawalAsked(
        version=1,
        nonce=None,
        nonce_min=state.account_nonce if treasury.orchestrator == treasury.address else 0,
        fee_per_gas_above=0,
        priority_fee_above=0,
        as_of=as_of,
        withdrawal=withdrawal.withdrawal,
        orchestrator=treasury.orchestrator,
        recipient=withdrawal.recipient,
        amount=withdrawal.amount,
        signer=withdrawal.signer,
        command_nonce=withdrawal.command_nonce,
    )


def _refused(withdrawal: Withdrawal, why: Objection, as_of: datetime) -> FeesWithdrawalRefused:
    reason, sentence = why
    return FeesWithdrawalRefused(
        withdrawal=withdrawal.withdrawal,
        signer=withdrawal.signer,
        command_nonce=withdrawal.command_nonce,
        reason=reason,
        sentence=sentence,
        as_of=as_of,
    )


def _looked_at(treasury: Treasury, state: State, as_of: datetime) -> tuple[Event, ...]:
    """Each order that can't be paid is told why, once a reason; if any can, the wallet is looked into."""
    events: list[Event] = []
    payable, before = False, sum(state.committed.values())
    for payout, waiting in sorted(state.waiting.items()):
        why = UNEXPLAINED if state.unexplained else objection(treasury, state, waiting.order, before=before)
        payable = payable or why is None
        if why is not None and why[0] != waiting.said:
            events += held([payout], why, as_of)
    return (*events, FloatAsked(slot=state.next_slot, as_of=as_of)) if payable else tuple(events)
