"""What edge can find out about a signed action by itself: a clear refusal now, though the registry decides."""

from __future__ import annotations

import asyncio

from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, EnrolmentAction, LeaveAsked
from millpond.identity import (
    ActionRefused,
    ContributorAction,
    DelegateDevice,
    LeavePool,
    RevokeDevice,
    SignedAction,
    check_nonce,
    verify_action,
    verify_device,
)
from millpond_edge.door import Door
from millpond_edge.joining.bodies import (
    ActionSigned,
    DelegationConsented,
    DelegationSigned,
    DepartureSigned,
    RevocationSigned,
)
from millpond_edge.joining.errors import (
    ContributorUnknown,
    DelegationRunsOut,
    DeviceForeign,
    DeviceIsRevoked,
    DeviceSignatureWrong,
    ScopeUnknown,
    SignatureRefused,
)
from millpond_edge.view.carried import device_of, nonce_of

SCOPE = "work"
# The last second that a date can express.
EXPIRES_AT_MAX = 253_402_300_799


async def checked_delegation(door: Door, sent: DelegationSigned) -> DelegateDevice:
    """What the wallet signed, if it would count now. Whether its nonce does is told when it is handed in."""
    action = await _verified(door, sent, sent.action)
    assert isinstance(action, DelegateDevice)
    if action.scope != SCOPE:
        raise ScopeUnknown(scope=action.scope[:64], known=SCOPE)
    now_s = door.clock.now_ms() // 1000
    if not now_s < action.expires_at <= EXPIRES_AT_MAX:
        raise DelegationRunsOut(expires_at=action.expires_at, now=now_s)
    return action


async def delegated(door: Door, sent: DelegationConsented) -> DeviceDelegated:
    action = await checked_delegation(door, sent)
    if not verify_device(
        pool=door.domain.pool, kind="Consent", text=sent.signer, device=action.device, signature=sent.consent
    ):
        facts = {"device": action.device, "signed": sent.signer, "pool": door.domain.pool}
        raise DeviceSignatureWrong(field="consent", **facts)
    signed = {"signer": sent.signer, "message": _message(action), "signature": sent.signature}
    return DeviceDelegated(action=sent.action, consent=sent.consent, **signed)


async def revoked(door: Door, sent: RevocationSigned) -> DeviceRevoked:
    """A device that nobody asked in may be revoked too: a delegation for it may lie about, signed and not yet used."""
    action = await _verified(door, sent, sent.action)
    assert isinstance(action, RevokeDevice)
    standing = door.members.device(action.device)
    if standing.contributor not in (None, sent.signer):
        raise DeviceForeign(asker=sent.signer, device=action.device, owner="which works for another contributor")
    return DeviceRevoked(action=sent.action, signer=sent.signer, message=_message(action), signature=sent.signature)


async def left(door: Door, sent: DepartureSigned) -> LeaveAsked:
    action = await _verified(door, sent, sent.action)
    assert isinstance(action, LeavePool)
    if door.members.contributor(sent.signer) == "unknown" and not door.members.devices_of(sent.signer):
        raise ContributorUnknown(contributor=sent.signer)
    return LeaveAsked(action=sent.action, signer=sent.signer, message=_message(action), signature=sent.signature)


async def _verified(door: Door, sent: ActionSigned, action: str) -> ContributorAction:
    signed = SignedAction(sent.signer, action, sent.message, sent.signature)
    try:
        # In a thread: recovering a key takes some milliseconds of pure Python, and agents' heartbeats go on meanwhile.
        verified = await asyncio.to_thread(verify_action, signed, domain=door.domain, signers=frozenset({sent.signer}))
    except ActionRefused as refused:
        raise SignatureRefused(refused) from refused
    assert isinstance(verified, ContributorAction)
    # Behind the signature: else a stranger could use up what is somebody else's.
    door.limits.take(sent.signer)
    return verified


def _message(action: ContributorAction) -> dict[str, int | str]:
    """In the order of the struct: the same action has the same bytes, however its JSON came."""
    return {**vars(action)}


def require_new(door: Door, event: EnrolmentAction) -> bool:
    """Whether it is new, and not what was carried before, byte for byte. Raises ``SignatureRefused``, ``DeviceIsRevoked``."""
    carried, nonce = door.view.carried, nonce_of(event)
    verdict = carried.verdict(event)
    if verdict == "duplicate":
        return False
    if isinstance(event, DeviceDelegated) and carried.is_revoked(event.signer, device_of(event)):
        raise DeviceIsRevoked(device=device_of(event), contributor=event.signer)
    try:
        check_nonce(carried.last_nonce(event.signer) if verdict == "conflict" else carried.must_exceed(event), nonce)
    except ActionRefused as refused:
        raise SignatureRefused(refused) from refused
    return True
