"""What an operator can set about watching the chain."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from millpond.settings import ChecksumAddress, LivepeerSettings


class WatcherSettings(LivepeerSettings):
    """Beside ``ChainSettings``."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_CHAIN_")
    used_by: ClassVar[str] = "chain_watcher"

    treasury: ChecksumAddress = Field(description="Treasury's wallet: whose transactions are watched.")
    from_block: int = Field(
        ge=1,
        description="The first block to read, when the watcher first starts. The node must still have the state before it.",
    )
    poll_s: float = Field(default=1.0, gt=0, le=60, description="Seconds between two looks at the chain.")
    range_blocks_max: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Blocks asked for at once while it catches up."
    )
    targets: Annotated[tuple[ChecksumAddress, ...], NoDecode] = Field(
        default=(),
        description="Upgraded contracts behind Livepeer's proxies whose events are known to be as before, by commas.",
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(address.strip() for address in value.split(",") if address.strip())
        return value
