"""The entrance: an input is taken in; an answer of the chain has its consequence; all else is decided at the next tick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from millpond.events.event import Event
from millpond.events.rewards_payouts import PayoutWithdrawn
from millpond.events.topics import TREASURY_SETTLEMENTS
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalBroadcast,
    FeesWithdrawalRefused,
    FeesWithdrawalSigned,
    FloatAsked,
    PayoutHeld,
    PayoutSettled,
)
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond_treasury.rules.answers import LOOK_AGAIN_MS, answered
from millpond_treasury.rules.findings import Finding, Float, NotNow, Sent, Signed
from millpond_treasury.rules.folding import rebuilt, with_event
from millpond_treasury.rules.state import State, Treasury
from millpond_treasury.rules.taking_in import taken_in
from millpond_treasury.rules.turning import begins, due_ms, instant, turn, unread

# The one timer. What arrives sets it to now: at its tick, all that was on the logs has been taken in.
TURN: Final = "turn"
ASKED_BACK: Final = "rewards took the order back before it was planned."


def decide(state: State, received: Input, *, treasury: Treasury) -> Decision[State]:
    if isinstance(received, Tick):
        return _on_tick(treasury, state, received)
    match received.finding:
        case Float() | Signed() | NotNow() | Sent() as finding:
            return _on_answer(treasury, state, received, finding)
        case _ if received.topic == TREASURY_SETTLEMENTS.name:
            return Decision(state)
        case _:
            pass
    if isinstance(received.event, PayoutWithdrawn):
        return _on_withdrawn(treasury, state, received, received.event)
    return Decision(taken_in(treasury, state, received), timers=(Timer(TURN, 0),))


def recall(state: State, received: Received, *, treasury: Treasury) -> Decision[State]:
    """What a rebuild reads again, after ``fold`` has seen all that came of it."""
    return Decision(taken_in(treasury, state, received), timers=(Timer(TURN, 0),))


def fold(state: State, own: Received, *, treasury: Treasury) -> Decision[State]:
    return Decision(rebuilt(treasury, state, own.event), timers=(Timer(TURN, 0),))


def _on_tick(treasury: Treasury, state: State, tick: Tick) -> Decision[State]:
    due = due_ms(state)
    if due is None or due > tick.as_of_ms:
        return Decision(state, timers=(Timer(TURN, due),))
    if tick.unread and begins(state):
        told = _said(treasury, state, unread(state, tick.as_of_ms), tick.as_of_ms)
        return told._replace(timers=(Timer(TURN, tick.as_of_ms + LOOK_AGAIN_MS),))
    events = turn(treasury, state, tick.as_of_ms)
    if not events:
        state = replace(state, look_ms=None)
    return _said(treasury, state, events, tick.as_of_ms)


def _on_answer(treasury: Treasury, state: State, received: Received, finding: Finding) -> Decision[State]:
    state, events = answered(treasury, state, received.event, finding)
    return _said(treasury, state, events, finding.at_ms)


def _on_withdrawn(treasury: Treasury, state: State, received: Received, withdrawn: PayoutWithdrawn) -> Decision[State]:
    """The answer is the order's last word: this, or later that it was paid."""
    if (waiting := state.waiting.get(withdrawn.payout)) is None:
        return Decision(state)
    order = waiting.order
    settled = PayoutSettled(
        payout=order.payout,
        recipient=order.recipient,
        asset=order.asset,
        amount=order.amount,
        outcome="withdrawn",
        reason=withdrawn.reason,
        sentence=ASKED_BACK,
        as_of=instant(received.stamp_ms),
    )
    return _said(treasury, state, (settled,), received.stamp_ms)


def _said(treasury: Treasury, state: State, events: Sequence[Event], time_ms: int) -> Decision[State]:
    for event in events:
        state = with_event(treasury, state, event)
    outgoing = tuple(Outgoing(TREASURY_SETTLEMENTS, _key(event), event, time_ms) for event in events)
    return Decision(state, outgoing, (Timer(TURN, due_ms(state)),))


def _key(event: Event) -> str:
    match event:
        case PayoutHeld(payout=payout) | PayoutSettled(payout=payout):
            return payout
        case FeesWithdrawalAsked() | FeesWithdrawalSigned() | FeesWithdrawalBroadcast() | FeesWithdrawalRefused():
            return event.withdrawal
        case FloatAsked():
            return str(event.slot)
        case _:
            return str(event.slot)  # type: ignore[attr-defined]  # all others are a slot's
