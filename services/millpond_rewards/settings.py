"""What an operator can set about rewards."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class RewardsSettings(Settings):
    """What rewards needs besides Kafka, the database and the pool's name."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_REWARDS_")
    used_by: ClassVar[str] = "rewards"

    receipt_key_file: Path = Field(
        description="The pool's key, as `millpond receipt key FILE` made it, to sign each epoch's checkpoint with."
    )
    epoch_s: int | None = Field(
        default=None,
        ge=1,
        le=366 * 86_400,
        description="Seconds from one epoch's end to the next; unset: only by the operator's command.",
    )
