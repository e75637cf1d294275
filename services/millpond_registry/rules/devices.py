"""Devices come in and go out: registered, refused, removed. Each belongs to one contributor at a time."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.event import Event
from millpond.events.registry_members import DeviceRefused, DeviceRegistered, DeviceRemoved
from millpond.events.topics import REGISTRY_MEMBERS
from millpond.stream.decision import Decision, Outgoing, Timer
from millpond_registry.rules.gpus import restand
from millpond_registry.rules.reasons import REFUSALS, REMOVALS
from millpond_registry.rules.state import Contributor, Delegation, Device, Ruled, State, also, time_of

EXPIRY_TIMER = "expiry/"


def member(contributor: str, event: Event, at_ms: int) -> Outgoing:
    return Outgoing(REGISTRY_MEMBERS, contributor, event, at_ms)


def keep(state: State, contributor: Contributor) -> State:
    return replace(state, contributors=state.contributors.put(contributor.address, contributor))


def refused(address: str, device: str, reason: str, at_ms: int, **facts: object) -> Outgoing:
    sentence = REFUSALS[reason].format(**facts)[:2_000]
    return member(address, DeviceRefused(contributor=address, device=device, reason=reason, sentence=sentence), at_ms)


def owner_of(state: State, device_id: str) -> str | None:
    """The contributor for whom the device works now."""
    device = state.devices.get(device_id)
    return device.contributor if device is not None and device.removed is None else None


def register(state: State, address: str, delegation: Delegation, at_ms: int) -> Ruled:
    """The device works for the contributor from now on; or it is refused, if it has become another's in the meantime."""
    if owner_of(state, delegation.device) not in (None, address):
        return Decision(state, (refused(address, delegation.device, "not-your-device", at_ms),))
    if delegation.expires_at <= time_of(at_ms):
        expires_at = delegation.expires_at.isoformat()
        return Decision(
            state, (refused(address, delegation.device, "delegation-expired", at_ms, expires_at=expires_at),)
        )
    registered = DeviceRegistered(
        contributor=address,
        device=delegation.device,
        delegation=delegation.delegation,
        scope=delegation.scope,
        expires_at=delegation.expires_at,
        nonce=delegation.nonce,
    )
    decision = Decision(put_registered(state, address, delegation), (member(address, registered, at_ms),))
    decision = decision._replace(timers=(expiry_timer(delegation),))
    return also(decision, lambda state: restand(state, delegation.device, at_ms))


def put_registered(state: State, address: str, delegation: Delegation) -> State:
    contributor = state.contributor(address)
    contributor = replace(
        contributor,
        devices=tuple(sorted({*contributor.devices, delegation.device})),
        pending=tuple(each for each in contributor.pending if each.device != delegation.device),
        nonce=max(contributor.nonce, delegation.nonce),
    )
    devices = state.devices.put(delegation.device, Device(address, delegation))
    return keep(replace(state, devices=devices), contributor)


def expiry_timer(delegation: Delegation) -> Timer:
    return Timer(EXPIRY_TIMER + delegation.device, int(delegation.expires_at.timestamp() * 1000))


def remove(state: State, device_id: str, reason: str, at_ms: int, nonce: int | None = None) -> Ruled:
    """A registered device counts no more, and its GPUs are gone."""
    device = state.devices.get(device_id)
    assert device is not None
    address = device.contributor
    removed = DeviceRemoved(
        contributor=address, device=device_id, reason=reason, sentence=REMOVALS[reason], nonce=nonce
    )
    decision = Decision(
        put_removed(state, address, device_id, reason),
        (member(address, removed, at_ms),),
        (Timer(EXPIRY_TIMER + device_id, None),),
    )
    return also(decision, lambda state: restand(state, device_id, at_ms))


def put_removed(state: State, address: str, device_id: str, reason: str) -> State:
    device, pulse = state.devices.get(device_id), state.pulses.get(device_id)
    if device is None or device.contributor != address:
        # Revoked before it was ever in.
        contributor = state.contributor(address)
        pending = tuple(each for each in contributor.pending if each.device != device_id)
        return keep(state, replace(contributor, revoked=contributor.revoked | {device_id}, pending=pending))
    contributor = state.contributor(address)
    contributor = replace(contributor, devices=tuple(each for each in contributor.devices if each != device_id))
    state = keep(replace(state, devices=state.devices.put(device_id, replace(device, removed=reason))), contributor)
    if pulse is not None:
        state = replace(state, pulses=state.pulses.put(device_id, replace(pulse, state="gone", running=0)))
    return state
