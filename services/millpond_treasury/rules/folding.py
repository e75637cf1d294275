"""What treasury's own events mean for its state: as they are decided, and again when a lost database is rebuilt."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from millpond.events.event import Event
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalBroadcast,
    FeesWithdrawalRefused,
    FeesWithdrawalSigned,
    FloatAsked,
    PaymentsStopped,
    PayoutHeld,
    PayoutSettled,
    SlotBroadcast,
    SlotPlanned,
    SlotSigned,
    SlotSigningAsked,
)
from millpond_treasury.rules.state import Sending, SlotOnItsWay, State, Treasury, WithdrawalOnItsWay

# A resend costs a node little, and the log the bytes once more.
SEND_AGAIN_MS_MAX: Final = 300_000


def with_event(treasury: Treasury, state: State, event: Event) -> State:
    match event:
        case FloatAsked():
            return replace(state, float_asked=True)
        case SlotPlanned() as plan:
            return _planned(state, plan)
        case PayoutHeld(payout=payout, reason=reason):
            return _held(state, payout, reason)
        case PayoutSettled() as settled:
            return _settled(state, settled)
        case PaymentsStopped():
            return replace(state, stopped=True)
        case SlotSigningAsked() | SlotSigned() | SlotBroadcast():
            return _of_slot(treasury, state, event)
        case FeesWithdrawalAsked() | FeesWithdrawalSigned() | FeesWithdrawalBroadcast() | FeesWithdrawalRefused():
            return _of_withdrawal(treasury, state, event)
        case other:
            raise AssertionError(f"treasury publishes no {type(other).__name__}")


def rebuilt(treasury: Treasury, state: State, event: Event) -> State:
    """As ``with_event``, but for questions: whether one was answered isn't on the log, so it is asked again."""
    state = with_event(treasury, state, event)
    slot, withdrawal = state.slot, state.withdrawal
    if slot is not None:
        slot = replace(slot, sending=replace(slot.sending, asked=False))
    if withdrawal is not None:
        withdrawal = replace(withdrawal, sending=replace(withdrawal.sending, asked=False))
    return replace(state, slot=slot, withdrawal=withdrawal, float_asked=False)


def _held(state: State, payout: str, reason: str) -> State:
    if payout in state.waiting:
        return replace(state, waiting={**state.waiting, payout: replace(state.waiting[payout], said=reason)})
    own = state.slot
    # Those of a slot wait together.
    return state if own is None else replace(state, slot=replace(own, sending=replace(own.sending, said=reason)))


def _planned(state: State, plan: SlotPlanned) -> State:
    payouts = {order.payout for order in plan.orders}
    committed = dict(state.committed)
    for order in plan.orders:
        committed[order.recipient] = committed.get(order.recipient, 0) + order.amount
    return replace(
        state,
        next_slot=plan.slot + 1,
        waiting={payout: each for payout, each in state.waiting.items() if payout not in payouts},
        planned=state.planned | payouts,
        committed=committed,
        slot=SlotOnItsWay(plan),
        float_asked=False,
    )


def _settled(state: State, settled: PayoutSettled) -> State:
    """The last of its slot's orders ends the slot's way."""
    if settled.outcome == "withdrawn":
        waiting = {payout: each for payout, each in state.waiting.items() if payout != settled.payout}
        return replace(state, waiting=waiting, planned=state.planned | {settled.payout})
    if settled.outcome == "returned":
        left = state.committed[settled.recipient] - settled.amount
        state = replace(state, committed={**state.committed, settled.recipient: left}, look_ms=0)
    own = state.slot
    if own is None or own.plan.slot != settled.slot:
        return state
    if own.settled + 1 == len(own.plan.orders):
        return replace(state, slot=None, look_ms=0)
    return replace(state, slot=replace(own, settled=own.settled + 1))


def _of_slot(treasury: Treasury, state: State, event: SlotSigningAsked | SlotSigned | SlotBroadcast) -> State:
    own = state.slot
    if own is None or own.plan.slot != event.slot:
        # Its answer came after the chain's last word.
        return state
    sending = own.sending
    match event:
        case SlotSigningAsked():
            return replace(state, slot=replace(own, sending=replace(sending, asked=True)))
        case SlotSigned():
            return replace(state, slot=replace(own, signed=event, sending=_signed(sending, event), nonce_used=False))
        case SlotBroadcast():
            return replace(state, slot=replace(own, sending=_sent(treasury, sending, event)))


def _of_withdrawal(
    treasury: Treasury,
    state: State,
    event: FeesWithdrawalAsked | FeesWithdrawalSigned | FeesWithdrawalBroadcast | FeesWithdrawalRefused,
) -> State:
    own = state.withdrawal
    match event:
        case FeesWithdrawalAsked():
            nonces = {**state.command_nonces, event.signer: event.command_nonce}
            begun = own is None or own.asked.withdrawal != event.withdrawal
            known = WithdrawalOnItsWay(event, Sending()) if own is None or begun else own
            queue = tuple(each for each in state.withdrawals if each.withdrawal != event.withdrawal)
            on_its_way = replace(known, asked=event, sending=replace(known.sending, asked=True))
            return replace(state, withdrawal=on_its_way, withdrawals=queue, command_nonces=nonces)
        case FeesWithdrawalRefused():
            nonces = {**state.command_nonces, event.signer: event.command_nonce}
            queue = tuple(each for each in state.withdrawals if each.withdrawal != event.withdrawal)
            ended = own is not None and own.asked.withdrawal == event.withdrawal
            return replace(state, withdrawal=None if ended else own, withdrawals=queue, command_nonces=nonces)
        case _ if own is None or own.asked.withdrawal != event.withdrawal:
            return state
        case FeesWithdrawalSigned():
            return replace(state, withdrawal=replace(own, signed=event, sending=_signed(own.sending, event)))
        case FeesWithdrawalBroadcast():
            return replace(state, withdrawal=replace(own, sending=_sent(treasury, own.sending, event)))


def _signed(sending: Sending, event: SlotSigned | FeesWithdrawalSigned) -> Sending:
    """``asked`` until it has been read back and sent. Said again, it is the version that it was."""
    if event.transaction in sending.hashes:
        return replace(sending, asked=True)
    signed_ms = _ms(event)
    hashes = (*sending.hashes, event.transaction)
    return Sending(asked=True, hashes=hashes, signed_ms=signed_ms, again_ms=signed_ms)


def _sent(treasury: Treasury, sending: Sending, event: SlotBroadcast | FeesWithdrawalBroadcast) -> Sending:
    wait_ms = min(treasury.send_again_ms << min(sending.sends, 16), SEND_AGAIN_MS_MAX)
    return replace(sending, asked=False, sends=sending.sends + 1, again_ms=_ms(event) + wait_ms, said=None)


def _ms(event: SlotSigned | FeesWithdrawalSigned | SlotBroadcast | FeesWithdrawalBroadcast) -> int:
    return round(event.as_of.timestamp() * 1000)
