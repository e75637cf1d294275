"""The registry's decisions: from each input to what is said about members, gateways, GPUs, terms and capacity."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.agent_claims import Heartbeat
from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, LeaveAsked
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.registry_capacity import CapacityChanged
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import REGISTRY_CAPACITY
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick
from millpond_registry.rules.devices import EXPIRY_TIMER
from millpond_registry.rules.enrolments import on_delegated
from millpond_registry.rules.folding import fold, recall
from millpond_registry.rules.heartbeats import PULSE_TIMER, on_heartbeat
from millpond_registry.rules.leaving import on_expiry, on_leave_asked, on_revoked
from millpond_registry.rules.liveness import on_pulse
from millpond_registry.rules.orders import on_commanded
from millpond_registry.rules.publishing import on_closing
from millpond_registry.rules.state import Capacity, Pool, Ruled, State, time_of

__all__ = ["Pool", "State", "conclude", "decide", "fold", "recall"]


def decide(pool: Pool, state: State, each: Input) -> Ruled:
    if isinstance(each, Tick):
        return _on_tick(replace(state, now_ms=max(state.now_ms, each.as_of_ms)), each)
    # An operator's clock is his own: it must not run ahead of edge's for everybody.
    by_edge = not isinstance(each.event, OperatorCommanded)
    now_ms = max(state.now_ms, each.stamp_ms) if by_edge or not state.now_ms else state.now_ms
    return _on_record(pool, state if now_ms == state.now_ms else replace(state, now_ms=now_ms), each)


def _on_record(pool: Pool, state: State, received: Received) -> Ruled:
    match received.event:
        case Heartbeat() as heartbeat:
            return on_heartbeat(pool, state, received, heartbeat)
        case DeviceDelegated() as delegated:
            return on_delegated(pool, state, received, delegated)
        case DeviceRevoked() as revoked:
            return on_revoked(pool, state, received, revoked)
        case LeaveAsked() as asked:
            return on_leave_asked(pool, state, received, asked)
        case OperatorCommanded() as command:
            return on_commanded(pool, state, received, command)
        case EpochClosing() as closing:
            return on_closing(state, received, closing)
        case _:
            # That a wallet was there (SignedIn) is evidence: nothing follows from it.
            return Decision(state)


def _on_tick(state: State, tick: Tick) -> Ruled:
    if tick.timer == PULSE_TIMER:
        return on_pulse(state, tick)
    if tick.timer.startswith(EXPIRY_TIMER):
        return on_expiry(state, tick)
    raise AssertionError(f"no timer is called {tick.timer}")


def conclude(state: State) -> Ruled:
    """What the pool can do together, said when it has changed: once for all that was decided at once."""
    changed = {
        capability: found
        for capability in sorted({*state.capacity, *state.advertised})
        if (found := state.capacity.get(capability, Capacity())) != state.advertised.get(capability, Capacity())
    }
    if not changed:
        return Decision(state)
    events = tuple(
        Outgoing(
            REGISTRY_CAPACITY,
            capability,
            CapacityChanged(capability=capability, gpus=gpus, slots=slots, as_of=time_of(state.now_ms)),
            state.now_ms,
        )
        for capability, (gpus, slots) in changed.items()
    )
    return Decision(replace(state, advertised={**state.advertised, **changed}), events)
