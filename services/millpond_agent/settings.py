"""What a contributor can set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from millpond.settings.environment import Settings


class AgentSettings(Settings):
    """`millpond agent join` leaves nothing here that must be set."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_AGENT_")
    used_by: ClassVar[str] = "agent"

    directory: Path = Field(
        default=Path("~/.local/state/millpond-agent"),
        description="Where the device's key, its unacknowledged results and its receipts lie. One directory, one pool.",
    )
    edge: str | None = Field(default=None, description="URL of the pool; unset: the one that was joined.")
    runners: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="URLs of runners to use, separated by commas; unset: the agent starts its own."
    )
    runner_token: SecretStr | None = Field(default=None, description="What those runners were given as AUTH_TOKEN.")
    slots: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Jobs at once on each GPU; unset: 2 on a card, half of the cores on a machine without one.",
    )
    heartbeat_s: float = Field(
        default=5.0, gt=0, le=15, description="Seconds between signs of life; the pool suspects a GPU after 15."
    )
    progress_s: float = Field(default=1.0, gt=0, le=10, description="Seconds between two reports about one job.")
    stop_s: float = Field(default=30.0, ge=0, le=3600, description="How long SIGTERM waits for the jobs that run.")

    @field_validator("directory")
    @classmethod
    def _home(cls, directory: Path) -> Path:
        return directory.expanduser()

    @field_validator("runners", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(url.strip() for url in value.split(",") if url.strip())
        return value
