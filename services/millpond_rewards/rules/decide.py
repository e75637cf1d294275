"""The entrance: an input is taken in, and sometimes something follows from it."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.metering_usage import Watermark
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import (
    Checkpoint,
    CloseRefused,
    EpochClosed,
    EpochClosing,
    EpochEnding,
    EpochWaits,
    PayoutsReleased,
)
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import REWARDS_EPOCHS, REWARDS_PAYOUTS
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond_rewards.rules.closing import (
    CLOSE,
    END,
    RELEASE,
    end_due_ms,
    obstacle,
    on_close,
    on_commanded,
    on_end,
    on_ending_read,
    timers_after_closing,
    waiting,
    with_closed,
    with_closing,
    with_ending,
    with_nonce,
)
from millpond_rewards.rules.orders import orders, with_orders, with_released
from millpond_rewards.rules.slots import unplanned
from millpond_rewards.rules.state import Pool, Said, State
from millpond_rewards.rules.taking_in import taken_in


def decide(state: State, received: Input, *, pool: Pool) -> Decision[State]:
    if isinstance(received, Tick):
        return _on_tick(pool, state, received)
    before, state = state, taken_in(state, received)
    match received.event:
        case OperatorCommanded() as command:
            return on_commanded(pool, state, command)
        case EpochEnding() as ending:
            return on_ending_read(pool, state, received, ending)
        case Watermark() if state.is_decided:
            return Decision(state, timers=(Timer(CLOSE, 0),))
        case TermsPublished() if before.began_ms is None:
            due_ms = end_due_ms(pool, state)
            return Decision(state, timers=() if due_ms is None else (Timer(END, due_ms),))
        case _:
            return Decision(state)


def recall(state: State, received: Received, *, pool: Pool) -> Decision[State]:
    """What a rebuild reads again. A command to close that has no answer among our outputs still waits for one."""
    state = taken_in(state, received)
    if isinstance(received.event, OperatorCommanded):
        state = on_commanded(pool, state, received.event).state
    return Decision(state)


def fold(state: State, own: Received, *, pool: Pool) -> Decision[State]:
    """What rewards has published itself; the same functions as when it was decided."""
    match own.event:
        case EpochEnding() as ending:
            return Decision(with_ending(state, ending))
        case CloseRefused() as refused:
            return Decision(with_nonce(state, refused.signer, refused.nonce))
        case EpochClosing() as closing:
            # The watermarks are still to be read again: the first tick finds them complete, or the last of them does.
            return Decision(with_closing(state, closing), timers=(Timer(CLOSE, 0),))
        case EpochWaits() as waits:
            said = Said(waits.epoch, waits.step, waits.reason)
            return Decision(replace(state, said=state.said | {said}))
        case StatementIssued():
            return Decision(replace(state, issued=(*state.issued, own.value.decode())))
        case EpochClosed() as closed:
            state = with_closed(state, closed)
            # At once, since the command to end the next epoch may be among what is read again.
            return Decision(state, timers=(*timers_after_closing(pool, state, closed), Timer(END, 0)))
        case Checkpoint():
            return Decision(state)
        case PayoutOrdered() as order:
            return Decision(with_orders(state, [order]))
        case PayoutsReleased(epoch=epoch):
            return Decision(with_released(state, epoch), timers=(Timer(f"{RELEASE}/{epoch}", None),))
        case other:
            raise AssertionError(f"rewards publishes no {type(other).__name__}")


def _on_tick(pool: Pool, state: State, tick: Tick) -> Decision[State]:
    match tick.timer.split("/"):
        case ["end"]:
            return on_end(pool, state, tick)
        case ["close"]:
            return on_close(pool, state, tick)
        case ["release", epoch]:
            return _on_release(pool, state, tick, int(epoch))
        case _:
            raise AssertionError(f"no timer is called {tick.timer}")


def _on_release(pool: Pool, state: State, tick: Tick, epoch: int) -> Decision[State]:
    window = next((each for each in state.windows if each.epoch == epoch), None)
    if window is None:
        return Decision(state)
    if (reason := obstacle(state, tick) or _doubt(state, epoch)) is not None:
        return waiting(pool, state, tick, epoch, "payouts", *reason, again=tick.timer)
    ordered = orders(state, window, tick.as_of)
    state = with_orders(state, ordered)
    released = PayoutsReleased(epoch=epoch, orders=len(ordered), as_of=tick.as_of)
    events = (
        *(Outgoing(REWARDS_PAYOUTS, order.contributor, order, tick.as_of_ms) for order in ordered),
        Outgoing(REWARDS_EPOCHS, pool.domain.pool, released, tick.as_of_ms),
    )
    return Decision(with_released(state, epoch), events)


def _doubt(state: State, epoch: int) -> tuple[str, str] | None:
    """Why nobody is paid now. If several apply, the first is given."""
    if state.conflict is not None:
        return "slot-conflict", f"{state.conflict} Nothing is ordered until the operator has found out why."
    if (slot := unplanned(state)) is not None:
        return "slot-unplanned", f"Slot {slot} of the payout contract was filled, and treasury has not planned it."
    if state.windows[0].epoch != epoch:
        return "earlier-epoch", f"Epoch {state.windows[0].epoch} has not been released yet."
    return None
