"""Bytes by their content: what goes into a job and what comes out of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from millpond.events.fields import Hash32

# What go-livepeer allows for one segment (300 MB), in whole mebibytes.
BLOB_BYTES_MAX = 300 * 1_048_576


class Blob(BaseModel):
    """``hash`` is the SHA-256 of the bytes; where they lie is for edge to know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    hash: Hash32
    size_bytes: Annotated[int, Field(strict=True, ge=0, le=BLOB_BYTES_MAX)]
