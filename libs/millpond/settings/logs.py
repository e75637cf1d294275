"""How much is logged, and for whom."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class LogSettings(Settings):
    """One level for the whole program."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_LOG_")
    used_by: ClassVar[str] = "every program"

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR: the least that is logged."
    )
    format: Literal["auto", "json", "console"] = Field(
        default="auto", description="console is for people, json for machines; auto: console on a terminal."
    )
