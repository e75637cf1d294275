"""Where blobs lie."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class BlobSettings(Settings):
    """All programs that touch blobs must be pointed at the same store."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_BLOBS_")
    used_by: ClassVar[str] = "edge, inspector"

    url: str = Field(
        default=".local/blobs",
        min_length=1,
        description="A folder, made if it is missing, or a bucket such as s3://bucket/prefix.",
    )
