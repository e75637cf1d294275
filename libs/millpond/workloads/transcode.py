"""Transcoding: a segment in, one rendition each out. The unit is the encoded pixel, as Livepeer bills it."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from millpond.workloads.blob import Blob

WORKLOAD: Final = "transcode"
UNIT: Final = "pixel"

RENDITIONS_MAX: Final = 8
SIDE_PIXELS_MAX: Final = 7_680
BITRATE_KBPS_MAX: Final = 100_000

RenditionName = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]


class Rendition(BaseModel):
    """What one output is to look like. Frame rate and time stamps are the source's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: RenditionName
    # Even, since the encoder halves both for colour (4:2:0).
    width: Annotated[int, Field(strict=True, ge=16, le=SIDE_PIXELS_MAX, multiple_of=2)]
    height: Annotated[int, Field(strict=True, ge=16, le=SIDE_PIXELS_MAX, multiple_of=2)]
    bitrate_kbps: Annotated[int, Field(strict=True, ge=50, le=BITRATE_KBPS_MAX)]


class TranscodeSpec(BaseModel):
    """A job's description: one segment that decodes by itself, into these renditions, in their order."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: Blob
    renditions: Annotated[tuple[Rendition, ...], Field(min_length=1, max_length=RENDITIONS_MAX)]

    @field_validator("renditions")
    @classmethod
    def _names_differ(cls, renditions: tuple[Rendition, ...]) -> tuple[Rendition, ...]:
        names = [rendition.name for rendition in renditions]
        if len(set(names)) < len(names):
            raise ValueError(f"two renditions have the same name among {', '.join(names)}: give each its own")
        return renditions


def pixels(*, width: int, height: int, frames: int) -> int:
    """Encoded pixels of one rendition: every frame counts with its whole area.

    Source: go-livepeer `server/segment_rpc.go` bills the sum over renditions of what the transcoder encoded.
    """
    return width * height * frames
