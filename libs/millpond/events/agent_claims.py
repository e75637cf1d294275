"""``agent.heartbeats.v1`` (key: the device), ``agent.progress.v1`` and ``agent.results.v1`` (key: the job): signed claims.

Edge carries them as they were signed, and is believed in nothing but the stamp; who decides on one verifies it.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import StringConstraints

from millpond.events.agent_enrolments import DeviceSignature
from millpond.events.device_claims import (
    Claim,
    HeartbeatClaim,
    JobFailedClaim,
    JobProgressClaim,
    JobStartedClaim,
    JobSucceededClaim,
)
from millpond.events.event import Event
from millpond.events.fields import Hash32

# Of one claim; the largest is a full inventory.
PAYLOAD_CHARACTERS_MAX = 131_072

C = TypeVar("C", bound=Claim)


class DeviceClaim(Event, Generic[C]):
    """``payload`` is the very text that ``device`` signed (``millpond.identity.device``), as a claim of this type's name.

    ``claim`` reads it: raises ``pydantic.ValidationError`` for a text that is none, which edge lets nobody send.
    """

    claim_type: ClassVar[type[Claim]] = Claim

    device: Hash32
    payload: Annotated[str, StringConstraints(strict=True, max_length=PAYLOAD_CHARACTERS_MAX)]
    signature: DeviceSignature

    @cached_property
    def claim(self) -> C:
        return self.claim_type.model_validate_json(self.payload)  # type: ignore[return-value]  # each subclass names its C

    @property
    def payload_hash(self) -> str:
        """SHA-256 of the signed text, ``0x`` hex: how other events name this claim."""
        return "0x" + hashlib.sha256(self.payload.encode()).hexdigest()


class Heartbeat(DeviceClaim[HeartbeatClaim]):
    """The device is alive: its GPUs, what runs on them."""

    claim_type = HeartbeatClaim


class JobProgress(DeviceClaim[JobProgressClaim]):
    """How far an attempt is; renews its lease."""

    claim_type = JobProgressClaim


class JobStarted(DeviceClaim[JobStartedClaim]):
    """An attempt has its input, and work begins."""

    claim_type = JobStartedClaim


class JobSucceeded(DeviceClaim[JobSucceededClaim]):
    """All outputs of an attempt lie in the store, with what the device counted."""

    claim_type = JobSucceededClaim


class JobFailed(DeviceClaim[JobFailedClaim]):
    """An attempt ended without outputs, and why."""

    claim_type = JobFailedClaim


def claim_item(device: str, claim: Claim) -> str:
    """What the header ``item`` says: sent again after a lost answer, it is the same item."""
    return f"{device}/{claim.session}/{claim.sequence}"
