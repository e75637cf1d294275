"""What the registry's own published events mean for its state: a lost database is made anew from them.

Not on its topics, and so recalled from its inputs: the numbers of each device's last heartbeat, and the running epoch.
"""

from __future__ import annotations

from dataclasses import replace

from millpond.events.agent_claims import Heartbeat
from millpond.events.device_claims import Gpu
from millpond.events.ids import gpu_id
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_capacity import CapacityChanged
from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.events.registry_gpus import (
    GpuDraining,
    GpuGone,
    GpuOnline,
    GpuRefused,
    GpuSuspect,
    LivenessPaused,
    LivenessResumed,
)
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorDraining,
    ContributorLeft,
    ContributorSuspended,
    ContributorWaits,
    DeviceRefused,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.events.rewards_epochs import EpochClosing
from millpond.stream.decision import Decision, Received, Timer
from millpond.terms.terms import Terms
from millpond_registry.rules.devices import EXPIRY_TIMER, expiry_timer, keep, put_registered, put_removed
from millpond_registry.rules.enrolments import put_admitted, put_waiting
from millpond_registry.rules.gpus import capacity_of, moved
from millpond_registry.rules.heartbeats import PULSE_MS, PULSE_TIMER, recall_beat
from millpond_registry.rules.leaving import gone
from millpond_registry.rules.orders import heard
from millpond_registry.rules.publishing import put_terms
from millpond_registry.rules.state import (
    Capacity,
    Card,
    Delegation,
    Gateway,
    GpuState,
    Pool,
    Published,
    Pulse,
    Ruled,
    Standing,
    State,
)


def fold(state: State, received: Received) -> Ruled:
    event, at_ms = received.event, received.stamp_ms
    match event:
        case ContributorWaits(device=str(), delegation=str(), expires_at=expires_at) if expires_at is not None:
            return Decision(put_waiting(state, event.contributor, _delegation(event), at_ms))
        case ContributorAdmitted(contributor=contributor):
            state = heard(put_admitted(state, contributor, at_ms), event.signer, contributor, event.nonce)
            return Decision(state)
        case ContributorSuspended(contributor=contributor):
            suspended = keep(state, replace(state.contributor(contributor), suspended=True))
            return Decision(heard(suspended, event.signer, contributor, event.nonce))
        case ContributorDraining() | ContributorLeft():
            return Decision(_leaving(state, event, at_ms))
        case DeviceRegistered(contributor=contributor):
            delegation = _delegation(event)
            return Decision(put_registered(state, contributor, delegation), (), (expiry_timer(delegation),))
        case DeviceRemoved():
            return _removed(state, event)
        case DeviceRefused():
            return Decision(_refused(state, event))
        case TermsPublished(document=document):
            state = put_terms(state, Published(Terms.model_validate_json(document), document, at_ms))
            state = heard(state, event.signer, received.key, event.nonce)
            return Decision(replace(state, capacity=capacity_of(state)))
        case GatewayAdmitted() | GatewaySuspended():
            return Decision(_gateway(state, event))
        case GpuOnline() | GpuSuspect() | GpuDraining() | GpuGone() | GpuRefused():
            return _gpu(state, event, at_ms)
        case LivenessPaused():
            return Decision(replace(state, flow=replace(state.flow, paused_ms=at_ms)))
        case LivenessResumed():
            return Decision(replace(state, flow=replace(state.flow, paused_ms=None, excused_ms=at_ms)))
        case CapacityChanged(capability=capability, gpus=gpus, slots=slots):
            return Decision(replace(state, advertised={**state.advertised, capability: Capacity(gpus, slots)}))
        case _:
            # Of a newer version, which knows what it means: who rebuilds with an older one loses it.
            return Decision(state)


def recall(pool: Pool, state: State, received: Received) -> Ruled:
    """What an input that was decided before has left besides outputs."""
    match received.event:
        case Heartbeat() as heartbeat:
            return Decision(recall_beat(pool, state, received, heartbeat))
        case EpochClosing(epoch=epoch):
            return Decision(replace(state, epoch=max(state.epoch, epoch + 1)))
        case _:
            return Decision(state)


def _delegation(event: DeviceRegistered | ContributorWaits) -> Delegation:
    assert event.device is not None
    assert event.delegation is not None
    assert event.scope is not None
    assert event.expires_at is not None
    nonce = -1 if event.nonce is None else event.nonce
    return Delegation(event.device, event.delegation, event.scope, event.expires_at, nonce)


def _leaving(state: State, event: ContributorDraining | ContributorLeft, at_ms: int) -> State:
    contributor = state.contributor(event.contributor)
    if event.nonce is not None:
        contributor = replace(contributor, nonce=event.nonce, left_nonce=event.nonce)
    if isinstance(event, ContributorLeft):
        return keep(state, gone(contributor, at_ms))
    return keep(state, replace(contributor, state="draining", since_ms=at_ms))


def _removed(state: State, event: DeviceRemoved) -> Ruled:
    state = put_removed(state, event.contributor, event.device, event.reason)
    contributor = state.contributor(event.contributor)
    nonce = -1 if event.nonce is None else event.nonce
    state = keep(state, replace(contributor, nonce=max(contributor.nonce, nonce)))
    return Decision(state, (), (Timer(EXPIRY_TIMER + event.device, None),))


def _refused(state: State, event: DeviceRefused) -> State:
    """Of who was just admitted it says that a device which had waited can't come in; otherwise nothing changes."""
    contributor = state.contributor(event.contributor)
    if contributor.state != "admitted":
        return state
    return keep(
        state, replace(contributor, pending=tuple(each for each in contributor.pending if each.device != event.device))
    )


def _gateway(state: State, event: GatewayAdmitted | GatewaySuspended) -> State:
    state = heard(state, event.signer, event.gateway, event.nonce)
    if isinstance(event, GatewayAdmitted):
        gateway = Gateway(event.key_hash, event.expires_at)
    else:
        known = state.gateways.get(event.gateway)
        if known is None:
            return state
        gateway = replace(known, suspended=True)
    return replace(state, gateways=state.gateways.put(event.gateway, gateway))


GpuEvent = GpuOnline | GpuSuspect | GpuDraining | GpuGone | GpuRefused
_STATES: dict[type[GpuEvent], GpuState] = {
    GpuOnline: "online",
    GpuSuspect: "suspect",
    GpuDraining: "draining",
    GpuGone: "gone",
    GpuRefused: "refused",
}


def _gpu(state: State, event: GpuEvent, at_ms: int) -> Ruled:
    before = state.cards.get(event.device) or ()
    known = next((card for card in before if gpu_id(event.device, card.hardware.hardware_id) == event.gpu), None)
    hardware: Gpu | None = getattr(event, "hardware", None) or (known.hardware if known else None)
    if hardware is None:
        return Decision(state)
    standing = Standing(_STATES[type(event)], getattr(event, "reason", ""), getattr(event, "missing", ()))
    after = Card(hardware, standing)
    cards = [card for card in before if card is not known]
    if standing.reason != "not-there":
        cards.append(after)
    capacity = state.capacity
    if known is not None:
        capacity = moved(capacity, state.terms_in_force, known, None)
    capacity = moved(capacity, state.terms_in_force, Card(hardware), after)
    sorted_ = tuple(sorted(cards, key=lambda card: card.hardware.hardware_id))
    pulse = _pulse(state.pulses.get(event.device), standing, at_ms)
    state = replace(
        state,
        cards=state.cards.put(event.device, sorted_),
        pulses=state.pulses.put(event.device, pulse),
        capacity=capacity,
    )
    if state.flow.ticking:
        return Decision(state)
    return Decision(replace(state, flow=replace(state.flow, ticking=True)), (), (Timer(PULSE_TIMER, at_ms + PULSE_MS),))


def _pulse(before: Pulse | None, standing: Standing, at_ms: int) -> Pulse:
    before = before or Pulse("alive", at_ms)
    match standing.state:
        case "online":
            return replace(before, state="alive", seen_ms=max(before.seen_ms, at_ms), goodbye=False)
        case "suspect":
            return replace(before, state="suspect")
        case "gone":
            if standing.reason == "not-there":
                return before
            return replace(before, state="gone", running=0, goodbye=standing.reason == "said-goodbye")
        case "draining" | "refused":
            return before if before.state != "gone" else replace(before, state="alive", seen_ms=at_ms)
