"""Who has fallen silent: by edge's stamps, at recorded ticks, and never more than half of the pool at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from millpond.events.event import Event
from millpond.events.registry_gpus import LivenessPaused, LivenessResumed
from millpond.events.topics import AGENT_HEARTBEATS, REGISTRY_GPUS
from millpond.stream.decision import Decision, Outgoing, Tick, Timer
from millpond.terms.terms import Downtime
from millpond_registry.rules.gpus import restand
from millpond_registry.rules.heartbeats import PULSE_MS, PULSE_TIMER
from millpond_registry.rules.leaving import leave_if_idle
from millpond_registry.rules.state import Flow, Pulse, PulseState, Ruled, State, also, in_turn, time_of

# Of fewer, "more than half" says nothing: a pool of two would never lose one.
STORM_DEVICES_MIN = 3
# An outage of ours that lasts longer has cost every lease anyway, and a pool whose machines are all off must not
# advertise them for ever.
PAUSE_MS_MAX = 300_000
# Under this key stands what is said of all GPUs.
POOL_KEY = "pool"

Devices = Sequence[tuple[str, Pulse]]


def on_pulse(state: State, tick: Tick) -> Ruled:
    terms, at_ms = state.terms_in_force, tick.as_of_ms
    state = replace(state, flow=replace(state.flow, judged_ms=at_ms))
    devices = [(device_id, pulse) for device_id, pulse in state.pulses.items() if pulse.state != "gone"]
    if terms is None or not devices:
        return Decision(replace(state, flow=replace(state.flow, paused_ms=None, ticking=False)))
    # Of those whose heartbeats couldn't be read nobody knows whether they are silent.
    unread = {place.partition for place in tick.unread if place.topic == AGENT_HEARTBEATS.name}
    known = [(device_id, pulse) for device_id, pulse in devices if not _is_unread(pulse, unread)]
    decision = _weighed(state, known, terms.downtime, at_ms)
    flow = decision.state.flow
    if flow.paused_ms is None or at_ms - flow.paused_ms >= PAUSE_MS_MAX:
        decision = also(decision, lambda state: _judged(state, known, terms.downtime, at_ms))
    return decision._replace(timers=(*decision.timers, Timer(PULSE_TIMER, at_ms + PULSE_MS)))


def _is_unread(pulse: Pulse, unread: set[int]) -> bool:
    # A partition that isn't known, after a rebuild, may be one of them.
    return bool(unread) and (pulse.partition < 0 or pulse.partition in unread)


def _weighed(state: State, devices: Devices, downtime: Downtime, at_ms: int) -> Ruled:
    """Whether silence counts, and the word on it when that changes.

    More than half at once is our own lag (edge, Kafka, the network between), not their GPUs. Two missed beats are
    counted, before anybody becomes suspect: otherwise half of them would be by the time that we notice. Once the
    heartbeats flow again everybody begins anew, since agents need a while to come back.
    """
    flow, hush_ms = state.flow, 1000 * min(2 * downtime.heartbeat_s, downtime.suspect_after_s)
    since_ms = at_ms - hush_ms
    silent = 0 if flow.excused_ms > since_ms else sum(pulse.seen_ms <= since_ms for _, pulse in devices)
    is_storm = len(devices) >= STORM_DEVICES_MIN and 2 * silent > len(devices)
    if is_storm == (flow.paused_ms is not None):
        return Decision(state)
    event: Event
    if is_storm:
        sentence = (
            f"{silent} of {len(devices)} devices fell silent at once, which is taken for an outage of the pool's own: "
            f"nobody becomes suspect or gone until heartbeats flow again, for {PAUSE_MS_MAX // 1000} s at most."
        )
        event = LivenessPaused(silent=silent, devices=len(devices), sentence=sentence, as_of=time_of(at_ms))
        flow = replace(flow, paused_ms=at_ms)
    else:
        event = LivenessResumed(silent=silent, devices=len(devices), as_of=time_of(at_ms))
        flow = replace(flow, paused_ms=None, excused_ms=at_ms)
    return Decision(replace(state, flow=flow), (Outgoing(REGISTRY_GPUS, POOL_KEY, event, at_ms),))


def _silence_ms(pulse: Pulse, flow: Flow, at_ms: int) -> int:
    return at_ms - max(pulse.seen_ms, flow.excused_ms)


def _judged(state: State, devices: Devices, downtime: Downtime, at_ms: int) -> Ruled:
    # Most have just beaten: only those are looked at who have been silent for long enough.
    since_ms = at_ms - downtime.suspect_after_s * 1000
    silent = [] if state.flow.excused_ms > since_ms else [each for each in devices if each[1].seen_ms <= since_ms]
    rules = []
    for device_id, pulse in sorted(silent, key=lambda each: each[0]):
        judged = _by_silence(_silence_ms(pulse, state.flow, at_ms), pulse, downtime)
        if judged != pulse.state:
            rules.append(partial(_fallen, device_id=device_id, pulse=replace(pulse, state=judged), at_ms=at_ms))
    return in_turn(state, rules)


def _by_silence(silence_ms: int, pulse: Pulse, downtime: Downtime) -> PulseState:
    """Only a heartbeat makes it better."""
    if silence_ms >= downtime.gone_after_s * 1000:
        return "gone"
    return "suspect" if silence_ms >= downtime.suspect_after_s * 1000 else pulse.state


def _fallen(state: State, device_id: str, pulse: Pulse, at_ms: int) -> Ruled:
    if pulse.state == "gone":
        pulse = replace(pulse, running=0)
    decision = restand(replace(state, pulses=state.pulses.put(device_id, pulse)), device_id, at_ms)
    device = state.devices.get(device_id)
    if device is None:
        return decision
    return also(decision, lambda state: leave_if_idle(state, device.contributor, at_ms))
