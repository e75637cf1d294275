"""What an operator can set about the inspector."""

from __future__ import annotations

import os
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class InspectorSettings(Settings):
    """What the inspector needs besides Kafka, the database and the store of blobs."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_INSPECTOR_")
    used_by: ClassVar[str] = "inspector"

    decode_ppm: int = Field(
        default=10_000,
        ge=0,
        le=1_000_000,
        description="Of a million results, how many are decoded besides being counted; by the result's hash.",
    )
    examinations_max: int = Field(
        default=2 * (os.cpu_count() or 1),
        ge=1,
        le=256,
        description="Outputs looked at side by side; each may take 300 MiB of the temporary directory.",
    )
