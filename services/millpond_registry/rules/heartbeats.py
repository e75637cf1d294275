"""Signs of life: a beat of a registered device, signed by it, newer than the last."""

from __future__ import annotations

from dataclasses import replace

from pydantic import ValidationError

from millpond.events.agent_claims import Heartbeat
from millpond.events.device_claims import HeartbeatClaim
from millpond.identity.device_signature import verify_device
from millpond.stream.decision import Decision, Received, Timer
from millpond_registry.rules.gpus import restand, show
from millpond_registry.rules.leaving import leave_if_idle
from millpond_registry.rules.state import Pool, Pulse, Ruled, State, also

PULSE_TIMER = "pulse"
PULSE_MS = 1_000
# Of one device: a new session is a lost memory, which is rare.
SESSIONS_MAX = 64


def on_heartbeat(pool: Pool, state: State, received: Received, heartbeat: Heartbeat) -> Ruled:
    """A sign of life, if a registered device signed it and it is newer than the last; anything else changes nothing."""
    device_id, at_ms = heartbeat.device, received.stamp_ms
    before, device = state.pulses.get(device_id), state.devices.get(device_id)
    if device is None or device.removed is not None:
        return Decision(state)
    claim = _newest(pool, before, received, heartbeat)
    if claim is None:
        return Decision(state)
    pulse = _beaten(before, claim, received)
    if _is_late(state, pulse):
        pulse = replace(pulse, state="gone" if before is None else before.state)
    decision = Decision(replace(state, pulses=state.pulses.put(device_id, pulse)))
    shown = decision if claim.inventory is None else show(decision.state, device_id, claim.inventory, at_ms)
    if before is None or before.state != pulse.state or shown.state is not decision.state:
        shown = also(shown, lambda state: restand(state, device_id, at_ms))
    shown = also(shown, lambda state: _watch(state, at_ms))
    return also(shown, lambda state: leave_if_idle(state, device.contributor, at_ms))


def _is_late(state: State, pulse: Pulse) -> bool:
    """Whether it came so late that by the last tick it was silence already: it is no sign of life any more."""
    terms = state.terms_in_force
    if terms is None or pulse.goodbye:
        return False
    silence_ms = state.flow.judged_ms - max(pulse.seen_ms, state.flow.excused_ms)
    return silence_ms >= terms.downtime.suspect_after_s * 1000


def recall_beat(pool: Pool, state: State, received: Received, heartbeat: Heartbeat) -> State:
    """The numbers of a beat that was decided before; how the device stands, the registry's own events have told."""
    before = state.pulses.get(heartbeat.device)
    claim = _newest(pool, before, received, heartbeat)
    if claim is None or before is None:
        return state
    beaten = _beaten(before, claim, received)
    running = 0 if before.state == "gone" else beaten.running
    pulse = replace(beaten, state=before.state, goodbye=before.goodbye, running=running)
    return replace(state, pulses=state.pulses.put(heartbeat.device, pulse))


def _newest(pool: Pool, before: Pulse | None, received: Received, heartbeat: Heartbeat) -> HeartbeatClaim | None:
    """The claim, if the device signed it, and nothing later before."""
    if received.key != heartbeat.device:
        return None
    claim = _verified(pool, heartbeat)
    return claim if claim is not None and _is_newer(before, claim) else None


def _verified(pool: Pool, heartbeat: Heartbeat) -> HeartbeatClaim | None:
    signed = verify_device(
        pool=pool.domain.pool,
        kind=Heartbeat.type_name,
        text=heartbeat.payload,
        device=heartbeat.device,
        signature=heartbeat.signature,
    )
    if not signed:
        return None
    try:
        return heartbeat.claim
    except ValidationError:
        return None


def _is_newer(before: Pulse | None, claim: HeartbeatClaim) -> bool:
    """A session that is over doesn't begin again; within one, the numbers rise. Who replays an old beat revives nobody."""
    if before is None:
        return True
    if claim.session == before.session:
        return claim.sequence > before.sequence
    return claim.session not in before.sessions


def _beaten(before: Pulse | None, claim: HeartbeatClaim, received: Received) -> Pulse:
    sessions: tuple[str, ...] = ()
    if before is not None:
        is_over = before.session and before.session != claim.session
        sessions = (*before.sessions, before.session)[-SESSIONS_MAX:] if is_over else before.sessions
    return Pulse(
        state="gone" if claim.leaving else "alive",
        seen_ms=max(received.stamp_ms, before.seen_ms if before else 0),
        session=claim.session,
        sequence=claim.sequence,
        sessions=sessions,
        running=sum(load.running for load in claim.loads),
        partition=received.place.partition,
        goodbye=claim.leaving,
    )


def _watch(state: State, at_ms: int) -> Ruled:
    """From the first sign of life on somebody looks for silence."""
    if state.flow.ticking:
        return Decision(state)
    return Decision(replace(state, flow=replace(state.flow, ticking=True)), (), (Timer(PULSE_TIMER, at_ms + PULSE_MS),))
