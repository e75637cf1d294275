"""``registry.members.v1``: who is in, and which devices work for whom. Key: the contributor (checksum address)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Address, Hash32, Instant
from millpond.events.ids import Reason, Sentence

# Of the signed action that an event answers: with it, and its signer, whoever asked knows the answer as his, and a
# rebuilt registry knows what it has already accepted. None: no signature was the cause.
Nonce = Annotated[int, Field(strict=True, ge=0)]


class ContributorWaits(Event):
    """Asked in, with a device that is registered as soon as it may be: the terms want the operator's approval first, or
    there are none yet.
    """

    contributor: Address
    reason: Reason = "approval"
    sentence: Sentence = ""
    device: Hash32 | None = None
    delegation: Hash32 | None = None
    scope: Annotated[str, Field(max_length=64)] | None = None
    expires_at: Instant | None = None
    nonce: Nonce | None = None


class ContributorAdmitted(Event):
    """May have devices. ``policy`` says by which rule; again after a suspension. ``signer``: the operator, if he said so."""

    contributor: Address
    policy: Literal["open", "approval"]
    signer: Address | None = None
    nonce: Nonce | None = None


class ContributorSuspended(Event):
    """No new work, until admitted again. What was earned stays earned."""

    contributor: Address
    reason: Reason
    sentence: Sentence
    signer: Address | None = None
    nonce: Nonce | None = None


class ContributorDraining(Event):
    """Leaves: the devices finish what they run."""

    contributor: Address
    nonce: Nonce | None = None


class ContributorLeft(Event):
    """Nothing runs any more. A new delegation comes back in."""

    contributor: Address
    nonce: Nonce | None = None


class DeviceRegistered(Event):
    """``device`` (its Ed25519 public key) works for ``contributor`` until ``expires_at``.

    ``delegation`` is the SHA-256 of the DeviceDelegated event's bytes: an assignment names it.
    """

    contributor: Address
    device: Hash32
    delegation: Hash32
    scope: Annotated[str, Field(max_length=64)]
    expires_at: Instant
    nonce: Nonce | None = None


class DeviceRefused(Event):
    """A delegation (or a revocation of somebody else's device) that doesn't count, and why.

    It takes nothing away: a device that is registered stays so, also with the same contributor.
    """

    contributor: Address
    device: Hash32
    reason: Reason
    sentence: Sentence


class DeviceRemoved(Event):
    """The device counts no more: revoked, expired, or its contributor left."""

    contributor: Address
    device: Hash32
    reason: Reason
    sentence: Sentence
    nonce: Nonce | None = None
