"""What follows from what the chain answered to a question on treasury's own topic.

An answer that is not waited for counts for nothing.
"""

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
    SlotBroadcast,
    SlotSigned,
    SlotSigningAsked,
)
from millpond_treasury.rules.findings import Finding, Float, NotNow, Sent, Signed
from millpond_treasury.rules.planning import planned
from millpond_treasury.rules.state import Sending, State, Treasury
from millpond_treasury.rules.turning import FAILED, held, instant

# A node that is away, fees that are too high, a wallet that is short: looked at again, and no sooner. Each look is on the
# log; that money has come is heard.
LOOK_AGAIN_MS: Final = 15_000
LOOK_AGAIN_MS_MAX: Final = 600_000
FLOAT_AGAIN_MS: Final = 60_000

Answered = tuple[State, tuple[Event, ...]]


def answered(treasury: Treasury, state: State, question: Event, finding: Finding) -> Answered:
    """The state, as far as no event says it, and the events that follow."""
    match question, finding:
        case FloatAsked(), Float() | NotNow():
            return _of_float(treasury, state, question, finding)
        case SlotSigningAsked(), Signed() | NotNow():
            return _of_slot(state, question, finding)
        case SlotSigned(), Sent():
            return state, (_broadcast(question, finding),)
        case FeesWithdrawalAsked(), Signed() | NotNow():
            return _of_withdrawal(state, question, finding)
        case FeesWithdrawalSigned(), Sent():
            return state, _withdrawal_sent(question, finding)
        case _:
            raise AssertionError(f"{type(finding).__name__} is no answer to {type(question).__name__}")


def _of_float(treasury: Treasury, state: State, question: FloatAsked, finding: Float | NotNow) -> Answered:
    if not state.float_asked or question.slot != state.next_slot:
        return state, ()
    if isinstance(finding, Float):
        state = replace(state, float_asked=False, look_ms=finding.at_ms + FLOAT_AGAIN_MS)
        return state, planned(treasury, state, finding)
    state = replace(state, float_asked=False, look_ms=finding.at_ms + LOOK_AGAIN_MS)
    why = (finding.reason, finding.sentence)
    waiting = sorted(payout for payout, each in state.waiting.items() if each.said is None)
    return state, held(waiting, why, instant(finding.at_ms))


def _of_slot(state: State, question: SlotSigningAsked, finding: Signed | NotNow) -> Answered:
    own = state.slot
    known = 0 if own is None or own.signed is None else own.signed.version
    if own is None or own.plan.slot != question.slot or question.version != known + 1:
        return state, ()
    if isinstance(finding, Signed):
        return state, (SlotSigned(**_facts(question.version, finding), slot=question.slot, digest=question.digest),)
    said = own.sending.said
    state = replace(state, slot=replace(own, sending=_not_now(own.sending, finding, is_signed=own.signed is not None)))
    if finding.reason == said:
        return state, ()
    payouts = [order.payout for order in own.plan.orders]
    return state, held(payouts, (finding.reason, finding.sentence), instant(finding.at_ms))


def _of_withdrawal(state: State, question: FeesWithdrawalAsked, finding: Signed | NotNow) -> Answered:
    own = state.withdrawal
    known = 0 if own is None or own.signed is None else own.signed.version
    if own is None or own.asked.withdrawal != question.withdrawal or question.version != known + 1:
        return state, ()
    if isinstance(finding, Signed):
        return state, (_withdrawal_signed(question, finding),)
    if finding.for_good and own.signed is None:
        return state, (_refused(question, finding.reason, finding.sentence, finding.at_ms),)
    sending = _not_now(own.sending, finding, is_signed=own.signed is not None)
    return replace(state, withdrawal=replace(own, sending=sending)), ()


def _not_now(sending: Sending, finding: NotNow, *, is_signed: bool) -> Sending:
    if is_signed:
        # What was signed before goes out again meanwhile; higher fees come up again after the same time.
        return replace(sending, asked=False, signed_ms=finding.at_ms, again_ms=finding.at_ms)
    # The question holds the whole batch: it is asked ever more seldom.
    wait_ms = min(LOOK_AGAIN_MS << min(sending.sends, 16), LOOK_AGAIN_MS_MAX)
    return replace(sending, asked=False, sends=sending.sends + 1, again_ms=finding.at_ms + wait_ms)


def _broadcast(question: SlotSigned, finding: Sent) -> SlotBroadcast:
    return SlotBroadcast(
        slot=question.slot,
        version=question.version,
        transaction=question.transaction,
        answer=finding.answer,
        detail=finding.detail,
        as_of=instant(finding.at_ms),
    )


def _withdrawal_signed(question: FeesWithdrawalAsked, finding: Signed) -> FeesWithdrawalSigned:
    return FeesWithdrawalSigned(
        **_facts(question.version, finding),
        withdrawal=question.withdrawal,
        orchestrator=question.orchestrator,
        recipient=question.recipient,
        amount=question.amount,
        signer=question.signer,
        command_nonce=question.command_nonce,
    )


def _withdrawal_sent(question: FeesWithdrawalSigned, finding: Sent) -> tuple[Event, ...]:
    broadcast = FeesWithdrawalBroadcast(
        withdrawal=question.withdrawal,
        version=question.version,
        transaction=question.transaction,
        answer=finding.answer,
        detail=finding.detail,
        as_of=instant(finding.at_ms),
    )
    if not finding.reverted:
        return (broadcast,)
    # Of the orchestrator's key nobody watches the transactions; what it withdraws is told by its event.
    return broadcast, _refused(question, "withdrawal-failed", FAILED, finding.at_ms)


def _refused(
    question: FeesWithdrawalAsked | FeesWithdrawalSigned, reason: str, sentence: str, at_ms: int
) -> FeesWithdrawalRefused:
    return FeesWithdrawalRefused(
        withdrawal=question.withdrawal,
        signer=question.signer,
        command_nonce=question.command_nonce,
        reason=reason,
        sentence=sentence,
        as_of=instant(at_ms),
    )


def _facts(version: int, signed: Signed) -> dict[str, object]:
    return {
        "version": version,
        "sender": signed.sender,
        "nonce": signed.nonce,
        "transaction": signed.transaction,
        "raw": signed.raw,
        "gas_limit": signed.gas_limit,
        "fee_per_gas_max": signed.fee_per_gas_max,
        "priority_fee_per_gas": signed.priority_fee_per_gas,
        "as_of": instant(signed.at_ms),
    }
