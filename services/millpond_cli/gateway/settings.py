"""Settings of a gateway that sends videos."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class GatewaySettings(Settings):
    """Where the pool is, and who asks. Both can be given on the command line instead."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_GATEWAY_")
    used_by: ClassVar[str] = "millpond send"

    edge_url: str = Field(default="", description="URL of the pool's edge, like https://pool.example; or --edge.")
    api_key: SecretStr | None = Field(
        default=None, description="The gateway's API key, mpk_<gateway>_<secret>; or --key-file."
    )
