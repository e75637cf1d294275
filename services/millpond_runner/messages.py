"""What callers say to the runner, and what it answers."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from millpond.events.fields import Hash32
from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond.workloads.transcode import RENDITIONS_MAX, Rendition, RenditionName

# The header that carries a ``TranscodeRequest``.
SPEC_HEADER: Final = "Millpond-Spec"

# The caller's own; the attempt belongs into it. Compared exactly: "a" and "A" are two jobs.
JobId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Count = Annotated[int, Field(strict=True, ge=0)]


class Reason(StrEnum):
    """Why a job that had begun has no outputs. If several apply, the first is given."""

    CANCELLED = "cancelled"
    STOPPED = "stopped"
    HUNG = "hung"
    TIMED_OUT = "timed-out"
    DISK_FULL = "disk-full"
    TOO_LARGE = "too-large"
    ENCODER_FAILED = "encoder-failed"
    BAD_INPUT = "bad-input"
    CRASHED = "crashed"


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TranscodeRequest(_Message):
    """One segment into these renditions, from one decode; the segment is the request's body."""

    job: JobId
    renditions: Annotated[tuple[Rendition, ...], Field(min_length=1, max_length=RENDITIONS_MAX)]

    @field_validator("renditions")
    @classmethod
    def _names_differ(cls, renditions: tuple[Rendition, ...]) -> tuple[Rendition, ...]:
        names = [rendition.name for rendition in renditions]
        if len(set(names)) < len(names):
            raise ValueError(f"two renditions have the same name among {', '.join(names)}: give each its own")
        return renditions


class Progress(_Message):
    """``frames`` of the source are encoded, in every rendition about as many; ``seconds`` have passed since the start."""

    type: Literal["progress"] = "progress"
    frames: Count
    seconds: Annotated[float, Field(ge=0)]


class RenditionDone(_Message):
    """One output. ``hash`` is the file's SHA-256; ``frames`` are its packets; ``pixels`` = width * height * frames."""

    name: RenditionName
    hash: Hash32
    size_bytes: Annotated[int, Field(strict=True, ge=0, le=BLOB_BYTES_MAX)]
    width: Count
    height: Count
    frames: Count
    pixels: Count


class Done(_Message):
    """The last line of a job that succeeded; the renditions stand in the order of the request."""

    type: Literal["done"] = "done"
    decoded_frames: Count
    renditions: tuple[RenditionDone, ...]


class Failed(_Message):
    """The last line of a job that failed: nothing of it is kept."""

    type: Literal["failed"] = "failed"
    reason: Reason
    sentence: Annotated[str, StringConstraints(max_length=2_000)]


Line = Progress | Done | Failed
Outcome = Done | Failed
