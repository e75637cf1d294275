"""Where a program answers for its health and its metrics."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class HealthSettings(Settings):
    """Nothing secret is served here, but nothing is authenticated either: don't expose it to the internet."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_HEALTH_")
    used_by: ClassVar[str] = "every service"

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
