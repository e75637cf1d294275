"""Who comes in: a delegation that counts, then the policy of the terms."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

from eth_utils.address import to_checksum_address

from millpond.events.agent_enrolments import DeviceDelegated
from millpond.events.registry_members import ContributorAdmitted, ContributorWaits
from millpond.identity.actions import DelegateDevice
from millpond.identity.device_signature import verify_device
from millpond.identity.errors import ActionRefused
from millpond.identity.signing import verify_action
from millpond.stream.decision import Decision, Received
from millpond_registry.rules.devices import keep, member, owner_of, refused, register
from millpond_registry.rules.gpus import restand_each
from millpond_registry.rules.leaving import is_revoked
from millpond_registry.rules.reasons import WAITING
from millpond_registry.rules.state import Contributor, Delegation, Pool, Ruled, State, also, in_turn, time_of

SCOPE = "work"
# 9999-12-31T23:59:59Z, in Unix seconds.
CALENDAR_ENDS_S = 253_402_300_799


class Refusal(NamedTuple):
    """A reason of ``reasons.REFUSALS``, with what its sentence names."""

    reason: str
    facts: dict[str, object]


def on_delegated(pool: Pool, state: State, received: Received, event: DeviceDelegated) -> Ruled:
    # The signer's spelling is checked below: one wallet is one contributor, however it is written.
    address, device_id = to_checksum_address(event.signer), str(event.message.get("device"))
    action = _action(pool, event, address)
    if isinstance(action, Refusal):
        if not re.fullmatch("0x[0-9a-f]{64}", device_id):
            return Decision(state, refusal=f"{action.reason}: {action.facts.get('problem', 'the device is no key')}")
        return Decision(state, (refused(address, device_id, action.reason, received.stamp_ms, **action.facts),))
    refusal = _refusal(state, address, action, received.stamp_ms)
    if refusal is not None:
        return Decision(state, (refused(address, device_id, refusal.reason, received.stamp_ms, **refusal.facts),))
    delegation = Delegation(
        device=action.device,
        delegation="0x" + hashlib.sha256(received.value).hexdigest(),
        scope=action.scope,
        expires_at=time_of(action.expires_at * 1000),
        nonce=action.nonce,
    )
    return ask_in(state, address, delegation, received.stamp_ms)


def _action(pool: Pool, event: DeviceDelegated, address: str) -> DelegateDevice | Refusal:
    """What both have signed: the wallet the delegation, the device that it agrees."""
    if event.signer != address:
        return Refusal("address-without-checksum", {"found": event.signer, "wanted": address})
    try:
        action = verify_action(event, domain=pool.domain, signers=frozenset({address}))
    except ActionRefused as problem:
        return Refusal("wrong-signature", {"problem": problem})
    assert isinstance(action, DelegateDevice)
    agrees = verify_device(
        pool=pool.domain.pool, kind="Consent", text=address, device=action.device, signature=event.consent
    )
    return action if agrees else Refusal("no-consent", {"contributor": address})


def _refusal(state: State, address: str, action: DelegateDevice, stamp_ms: int) -> Refusal | None:
    """Why a delegation that both have signed doesn't count all the same."""
    contributor = state.contributor(address)
    if action.scope != SCOPE:
        return Refusal("wrong-scope", {"found": action.scope})
    if action.expires_at > CALENDAR_ENDS_S:
        return Refusal("expires-too-late", {})
    if action.expires_at * 1000 <= stamp_ms:
        return Refusal("delegation-expired", {"expires_at": time_of(action.expires_at * 1000).isoformat()})
    if is_revoked(state, address, action.device):
        return Refusal("revoked", {})
    if owner_of(state, action.device) not in (None, address):
        return Refusal("not-your-device", {})
    last = _last_nonce(state, contributor, action.device)
    if action.nonce <= last:
        return Refusal("nonce-too-low", {"nonce": action.nonce, "last": last})
    if contributor.suspended:
        return Refusal("contributor-suspended", {})
    return None


def _last_nonce(state: State, contributor: Contributor, device_id: str) -> int:
    """The nonces of a wallet rise for each device, not over all of them: ten delegations that were signed one after the
    other travel to ten machines, which join in any order. What was signed before the wallet left is void.
    """
    device = state.devices.get(device_id)
    known = [each.nonce for each in contributor.pending if each.device == device_id]
    if device is not None and device.contributor == contributor.address:
        known.append(device.delegation.nonce)
    return max(contributor.left_nonce, *known, -1)


def ask_in(state: State, address: str, delegation: Delegation, at_ms: int) -> Ruled:
    """By the terms in force: in at once, or waiting with the device."""
    contributor, terms = state.contributor(address), state.terms_in_force
    if contributor.state == "admitted":
        return register(state, address, delegation, at_ms)
    if contributor.state == "draining":
        # He has changed his mind: a nonce above that of his leaving says so.
        return also(admit(state, address, _policy(state), at_ms), _registered(address, delegation, at_ms))
    if terms is None:
        reason = "no-terms"
    elif not terms.admission.external_gpus:
        reason = "no-external-gpus"
    elif terms.admission.policy == "approval":
        reason = "approval"
    else:
        return also(admit(state, address, "open", at_ms), _registered(address, delegation, at_ms))
    waits = ContributorWaits(
        contributor=address,
        reason=reason,
        sentence=WAITING[reason],
        device=delegation.device,
        delegation=delegation.delegation,
        scope=delegation.scope,
        expires_at=delegation.expires_at,
        nonce=delegation.nonce,
    )
    return Decision(put_waiting(state, address, delegation, at_ms), (member(address, waits, at_ms),))


def put_waiting(state: State, address: str, delegation: Delegation, at_ms: int) -> State:
    contributor = state.contributor(address)
    others = (each for each in contributor.pending if each.device != delegation.device)
    pending = tuple(sorted((*others, delegation), key=lambda each: each.device))
    nonce = max(contributor.nonce, delegation.nonce)
    return keep(state, replace(contributor, state="waiting", pending=pending, nonce=nonce, since_ms=at_ms))


def admit(
    state: State, address: str, policy: str, at_ms: int, *, signer: str | None = None, nonce: int | None = None
) -> Ruled:
    """In, or in again; the devices that waited with the contributor are registered."""
    admitted = ContributorAdmitted(contributor=address, policy=policy, signer=signer, nonce=nonce)
    waited = state.contributor(address).pending
    decision: Ruled = Decision(put_admitted(state, address, at_ms), (member(address, admitted, at_ms),))
    decision = also(decision, lambda state: in_turn(state, [_registered(address, each, at_ms) for each in waited]))
    decision = decision._replace(state=keep(decision.state, replace(decision.state.contributor(address), pending=())))
    return also(decision, lambda after: restand_each(after, state.contributor(address).devices, at_ms))


def put_admitted(state: State, address: str, at_ms: int) -> State:
    contributor = state.contributor(address)
    return keep(state, replace(contributor, state="admitted", suspended=False, since_ms=at_ms))


def _registered(address: str, delegation: Delegation, at_ms: int) -> Callable[[State], Ruled]:
    return lambda state: register(state, address, delegation, at_ms)


def _policy(state: State) -> str:
    terms = state.terms_in_force
    return "open" if terms is None else terms.admission.policy


def ask_in_again(state: State, at_ms: int) -> Ruled:
    """After a change of the terms: who waited for what they now allow comes in."""
    waiting = sorted(
        address for address, each in state.contributors.items() if each.state == "waiting" and not each.suspended
    )
    return in_turn(state, [partial(_ask_in_again, address=address, at_ms=at_ms) for address in waiting])


def _ask_in_again(state: State, address: str, at_ms: int) -> Ruled:
    terms = state.terms_in_force
    if terms is None or not terms.admission.external_gpus or terms.admission.policy != "open":
        return Decision(state)
    return admit(state, address, "open", at_ms)
