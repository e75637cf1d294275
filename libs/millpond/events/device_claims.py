"""What a device says, and signs: the JSON text is kept verbatim in ``agent.*`` events, and these models read it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millpond.events.fields import Instant
from millpond.events.ids import Attempt, HardwareId, Reason, Sentence, Sequence, Uuid
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import RENDITIONS_MAX, RenditionName

GPUS_PER_DEVICE_MAX = 64
SLOTS_MAX = 256
Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]
Slots = Annotated[int, Field(strict=True, ge=0, le=SLOTS_MAX)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=128)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Claim(_Part):
    """``session``: one life of the agent's memory; ``sequence`` rises by 1 in it.

    ``time`` is the device's own clock: evidence only.
    """

    session: Uuid
    sequence: Sequence
    time: Instant


class Gpu(_Part):
    """One GPU, or a processor that does a GPU's work. What the hardware doesn't tell is None: unknown, never zero."""

    hardware_id: HardwareId
    kind: Literal["nvidia", "software"]
    model: Name
    memory_bytes: Count | None = None
    driver: Name | None = None
    slots: Annotated[int, Field(strict=True, ge=1, le=SLOTS_MAX)]
    workloads: Annotated[tuple[Literal["transcode"], ...], Field(min_length=1, max_length=8)]


class GpuLoad(_Part):
    """What changes from beat to beat."""

    hardware_id: HardwareId
    running: Slots
    utilization_percent: Annotated[int, Field(strict=True, ge=0, le=100)] | None = None
    memory_free_bytes: Count | None = None
    temperature_celsius: Annotated[int, Field(strict=True, ge=-50, le=150)] | None = None


class HeartbeatClaim(Claim):
    """Alive. ``inventory`` comes with a session's first beat, when it changes, and hourly. ``leaving``: goodbye."""

    loads: Annotated[tuple[GpuLoad, ...], Field(max_length=GPUS_PER_DEVICE_MAX)] = ()
    inventory: Annotated[tuple[Gpu, ...], Field(max_length=GPUS_PER_DEVICE_MAX)] | None = None
    leaving: bool = False
    version: Name = "unknown"


class AttemptClaim(Claim):
    """Something about an attempt; ``lease`` is that of its JobAssigned."""

    job: Uuid
    attempt: Attempt
    lease: Uuid


class JobStartedClaim(AttemptClaim):
    """The input is there, and work begins."""


class JobProgressClaim(AttemptClaim):
    """``frames`` encoded so far, of all renditions together."""

    frames: Count


class Output(_Part):
    """One rendition as the device made it; ``frames`` and ``pixels`` are its claim."""

    rendition: RenditionName
    blob: Blob
    frames: Count
    pixels: Count


class JobSucceededClaim(AttemptClaim):
    """All renditions lie in the pool's store."""

    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=RENDITIONS_MAX)]


class JobFailedClaim(AttemptClaim):
    """It could not be done: a bad input, a crash, a full disk, a cancellation."""

    reason: Reason
    sentence: Sentence
