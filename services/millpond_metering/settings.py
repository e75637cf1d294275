"""What an operator can set about metering."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class MeteringSettings(Settings):
    """What metering needs besides Kafka, the database and the pool's name."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_METERING_")
    used_by: ClassVar[str] = "metering"

    receipt_key_file: Path = Field(
        description="The pool's countersigning key, as `millpond receipt key FILE` made it; the terms name its public half."
    )
