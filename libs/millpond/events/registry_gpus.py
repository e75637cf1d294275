"""``registry.gpus.v1``: which GPUs there are, and whether they answer. Key: the GPU; of what is said of all, ``pool``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millpond.events.device_claims import Gpu
from millpond.events.event import Event
from millpond.events.fields import Address, Hash32, Instant
from millpond.events.ids import Reason, Sentence, Uuid

Count = Annotated[int, Field(strict=True, ge=0)]


class GpuOnline(Event):
    """It answers, and may get work: seen for the first time, back again, or with a changed inventory."""

    gpu: Uuid
    device: Hash32
    contributor: Address
    hardware: Gpu
    as_of: Instant


class _GpuState(Event):
    gpu: Uuid
    device: Hash32
    contributor: Address
    reason: Reason
    sentence: Sentence
    as_of: Instant


class GpuSuspect(_GpuState):
    """Silent for a while: gets no new work, keeps what it has."""


class GpuDraining(_GpuState):
    """Finishes what it runs, and gets no new work."""


class GpuGone(_GpuState):
    """Silent for long, said goodbye, or may not work any more."""


class GpuRefused(_GpuState):
    """Doesn't meet the terms: no GPU model, memory or kind that the pool takes."""

    missing: Annotated[tuple[str, ...], Field(max_length=16)] = ()
    hardware: Gpu | None = None


class LivenessPaused(Event):
    """More than half of the devices fell silent at once: that is the pool's own outage, and nobody becomes suspect or gone.

    ``silent`` of ``devices`` that were not gone before, at the tick ``as_of``.
    """

    silent: Count
    devices: Count
    sentence: Sentence
    as_of: Instant


class LivenessResumed(Event):
    """Silence counts again, from ``as_of`` on: nobody is charged with what came before."""

    silent: Count
    devices: Count
    as_of: Instant
