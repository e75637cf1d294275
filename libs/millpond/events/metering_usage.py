"""``metering.usage.v1``: what was done, and whether to believe it. Key: the contributor; a watermark's: its partition."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from millpond.events.agent_enrolments import DeviceSignature
from millpond.events.event import Event
from millpond.events.fields import Address, Hash32
from millpond.events.ids import Attempt, GatewayId, Reason, Sentence, Uuid
from millpond.events.scheduler_assignments import AgreedPrice

# What a database's bigint holds; nobody encodes as many pixels in a lifetime.
UNITS_MAX = 2**63 - 1
# A line's receipt until it is countersigned: nobody's signature.
UNSIGNED = "0x" + "00" * 64
Units = Annotated[int, Field(strict=True, ge=0, le=UNITS_MAX)]
Offset = Annotated[int, Field(strict=True, ge=0)]


class SourceRecord(BaseModel):
    """A record that a line was decided from."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str
    partition: Annotated[int, Field(strict=True, ge=0)]
    offset: Offset


class _UsageLine(Event):
    """One window of one attempt. ``quantity`` is what weighs: for a held line the lower of ``claimed`` and ``counted``.

    ``receipt`` is the pool's countersignature (Ed25519, ``millpond.proofs.receipt``) over all other fields.
    """

    line: Uuid
    job: Uuid
    attempt: Attempt
    window: Annotated[int, Field(strict=True, ge=0)]
    contributor: Address
    device: Hash32
    gpu: Uuid
    gateway: GatewayId
    workload: Literal["transcode"]
    unit: Literal["pixel"]
    quantity: Units
    claimed: Units
    counted: Units
    price: AgreedPrice
    terms_hash: Hash32
    result: Hash32
    sources: Annotated[tuple[SourceRecord, ...], Field(max_length=64)]


class UsageRecorded(_UsageLine):
    """Believed."""

    receipt: DeviceSignature


class UsageHeld(_UsageLine):
    """Not believed as it is, and why; it waits for a review."""

    reason: Reason
    sentence: Sentence
    receipt: DeviceSignature


class Watermark(Event):
    """For ``epoch``, everything in input partition ``partition`` below ``ends`` (per topic, excluded) has been decided.

    Written to every partition of this topic, behind the lines it covers.
    """

    epoch: Annotated[int, Field(strict=True, ge=0)]
    partition: Annotated[int, Field(strict=True, ge=0)]
    ends: dict[str, Offset]


UsageLine = UsageRecorded | UsageHeld
