"""``inspector.observations.v1``: what was seen in an output; an answer to every one. Key: the job."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Hash32
from millpond.events.ids import Attempt, Reason, Sentence, Uuid
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import RenditionName

Count = Annotated[int, Field(strict=True, ge=0, le=2**63 - 1)]


class _OfOutput(Event):
    """``result`` names the signed claim (its SHA-256) whose output this is; ``blob`` is what the claim named."""

    job: Uuid
    attempt: Attempt
    result: Hash32
    rendition: RenditionName
    blob: Blob


class OutputObserved(_OfOutput):
    """``frames``: packets of the video stream; ``pixels``: those times the coded size. ``decoded_frames`` when it was decoded."""

    size_bytes: Count
    width: Count
    height: Count
    frames: Count
    pixels: Count
    duration_ms: Count | None = None
    codec: Annotated[str, StringConstraints(max_length=64)]
    decoded_frames: Count | None = None
    decoder: Annotated[str, StringConstraints(max_length=128)]


class OutputUnreadable(_OfOutput):
    """The bytes are there, and are no video that could be counted within the limits."""

    reason: Reason
    sentence: Sentence
    decoder: Annotated[str, StringConstraints(max_length=128)]


class OutputUnavailable(_OfOutput):
    """The pool's store doesn't have it, or has other bytes."""

    reason: Reason
    sentence: Sentence
