"""``registry.members.v1``: who is in, and which devices work for whom. Key: the contributor (checksum address)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Address, Hash32, Instant
from millpond.events.ids import Reason, Sentence


class ContributorWaits(Event):
    """Asked in; the terms want the operator's approval first."""

    contributor: Address


class ContributorAdmitted(Event):
    """May have devices. ``policy`` says by which rule; again after a suspension."""

    contributor: Address
    policy: Literal["open", "approval"]


class ContributorSuspended(Event):
    """No new work, until admitted again. What was earned stays earned."""

    contributor: Address
    reason: Reason
    sentence: Sentence


class ContributorDraining(Event):
    """Leaves: the devices finish what they run."""

    contributor: Address


class ContributorLeft(Event):
    """Nothing runs any more. A new delegation comes back in."""

    contributor: Address


class DeviceRegistered(Event):
    """``device`` (its Ed25519 public key) works for ``contributor`` until ``expires_at``.

    ``delegation`` is the SHA-256 of the DeviceDelegated event's bytes: an assignment names it.
    """

    contributor: Address
    device: Hash32
    delegation: Hash32
    scope: Annotated[str, Field(max_length=64)]
    expires_at: Instant


class DeviceRefused(Event):
    """A delegation that doesn't count, and why."""

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
