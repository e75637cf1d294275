"""Revoked, expired, left: how devices and contributors go out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from millpond.events.agent_enrolments import DeviceRevoked, LeaveAsked
from millpond.events.registry_members import ContributorDraining, ContributorLeft, DeviceRemoved
from millpond.identity.actions import LeavePool, RevokeDevice
from millpond.identity.errors import ActionRefused, NonceTooLow
from millpond.identity.signing import verify_action
from millpond.stream.decision import Decision, Received, Tick
from millpond_registry.rules.devices import EXPIRY_TIMER, keep, member, put_removed, refused, remove
from millpond_registry.rules.gpus import restand_each
from millpond_registry.rules.reasons import REMOVALS
from millpond_registry.rules.state import REVOKED, Contributor, Pool, Ruled, State, also, in_turn, time_of

# While there are no terms to say how long a lease is.
LEASE_S_DEFAULT = 10


def on_revoked(pool: Pool, state: State, received: Received, event: DeviceRevoked) -> Ruled:
    """At once and for ever. It needs no nonce: done once it can't be done again, nor undone."""
    try:
        action = verify_action(event, domain=pool.domain, signers=frozenset({event.signer}))
    except ActionRefused as refusal:
        return Decision(state, refusal=str(refusal))
    assert isinstance(action, RevokeDevice)
    address, at_ms, device = event.signer, received.stamp_ms, state.devices.get(action.device)
    if device is not None and device.contributor == address and device.removed is None:
        decision = remove(state, action.device, REVOKED, at_ms, action.nonce)
    elif (device is not None and device.contributor != address) or _waits_for_another(state, action.device, address):
        return Decision(state, (refused(address, action.device, "not-your-device", at_ms),))
    elif is_revoked(state, address, action.device):
        return Decision(state)
    else:
        removed = DeviceRemoved(
            contributor=address, device=action.device, reason=REVOKED, sentence=REMOVALS[REVOKED], nonce=action.nonce
        )
        decision = Decision(put_removed(state, address, action.device, REVOKED), (member(address, removed, at_ms),))
    contributor = decision.state.contributor(address)
    heard = replace(contributor, nonce=max(contributor.nonce, action.nonce))
    return also(
        decision._replace(state=keep(decision.state, heard)), lambda state: leave_if_idle(state, address, at_ms)
    )


def is_revoked(state: State, address: str, device_id: str) -> bool:
    device = state.devices.get(device_id)
    return (device is not None and device.removed == REVOKED) or device_id in state.contributor(address).revoked


def _waits_for_another(state: State, device_id: str, address: str) -> bool:
    return any(
        device_id in {each.device for each in other.pending}
        for other_address, other in state.contributors.items()
        if other_address != address
    )


def on_leave_asked(pool: Pool, state: State, received: Received, event: LeaveAsked) -> Ruled:
    try:
        action = verify_action(event, domain=pool.domain, signers=frozenset({event.signer}))
        assert isinstance(action, LeavePool)
        contributor = state.contributor(event.signer)
        if action.nonce <= contributor.nonce:
            raise NonceTooLow(nonce=action.nonce, last=contributor.nonce)
    except ActionRefused as refusal:
        return Decision(state, refusal=str(refusal))
    address, at_ms = event.signer, received.stamp_ms
    heard = replace(contributor, nonce=action.nonce, left_nonce=action.nonce)
    if contributor.state == "draining":
        return Decision(state)
    if contributor.state != "admitted":
        left = ContributorLeft(contributor=address, nonce=action.nonce)
        return Decision(keep(state, gone(heard, at_ms)), (member(address, left, at_ms),))
    draining = ContributorDraining(contributor=address, nonce=action.nonce)
    decision = Decision(
        keep(state, replace(heard, state="draining", since_ms=at_ms)), (member(address, draining, at_ms),)
    )
    decision = also(decision, lambda state: restand_each(state, contributor.devices, at_ms))
    return also(decision, lambda state: leave_if_idle(state, address, at_ms))


def leave_if_idle(state: State, address: str, at_ms: int) -> Ruled:
    """Who drains has left when no device runs anything any more.

    A device is idle when it said so a lease's length after its contributor asked to leave: what was handed out just
    before has begun by then, or belongs to nobody. A device that is gone runs nothing.
    """
    contributor = state.contributor(address)
    if contributor.state != "draining" or not all(_is_idle(state, contributor, each) for each in contributor.devices):
        return Decision(state)
    rules = [partial(remove, device_id=device_id, reason="left", at_ms=at_ms) for device_id in contributor.devices]
    decision = in_turn(state, rules)
    left = member(address, ContributorLeft(contributor=address), at_ms)
    return decision._replace(
        state=keep(decision.state, gone(decision.state.contributor(address), at_ms)),
        events=(*decision.events, left),
    )


def _is_idle(state: State, contributor: Contributor, device_id: str) -> bool:
    pulse, terms = state.pulses.get(device_id), state.terms_in_force
    if pulse is None or pulse.state == "gone":
        return True
    lease_s = LEASE_S_DEFAULT if terms is None else terms.work.lease_s
    return pulse.running == 0 and pulse.seen_ms >= contributor.since_ms + lease_s * 1000


def gone(contributor: Contributor, at_ms: int) -> Contributor:
    return replace(contributor, state="left", devices=(), pending=(), since_ms=at_ms)


def on_expiry(state: State, tick: Tick) -> Ruled:
    device_id = tick.timer.removeprefix(EXPIRY_TIMER)
    device = state.devices.get(device_id)
    if device is None or device.removed is not None or device.delegation.expires_at > time_of(tick.as_of_ms):
        return Decision(state)
    decision = remove(state, device_id, "expired", tick.as_of_ms)
    return also(decision, lambda state: leave_if_idle(state, device.contributor, tick.as_of_ms))
