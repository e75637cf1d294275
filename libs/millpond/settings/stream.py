"""How the stream library reads, retries, holds its lease and publishes."""

from __future__ import annotations

from typing import ClassVar, Final, Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings

# A frozen process keeps its locks until the database ends its idle transaction: the standby waits for that too.
IDLE_TRANSACTION_S: Final = 1.5
TAKEOVER_S: Final = 5.0


class StreamSettings(Settings):
    """The defaults are what was measured; who changes them changes what the benchmarks promise."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_STREAM_")
    used_by: ClassVar[str] = "every service on the stream library"

    batch_records_max: int = Field(
        default=500, ge=1, le=10_000, description="Records of one transaction at most; more throughput, more latency."
    )
    lease_s: float = Field(
        default=2.5,
        gt=0,
        description="Seconds that an active instance may be silent. With 1.5 s for a frozen one's locks, less than 5 s.",
    )
    renew_every_s: float = Field(
        default=0.5, gt=0, description="Seconds between renewals of the lease; at most a third of it, so two may fail."
    )
    live_after_s: float = Field(
        default=30.0, gt=0, le=600, description="Seconds without a poll until the health check calls the program dead."
    )

    @model_validator(mode="after")
    def _standby_is_in_time(self) -> Self:
        if self.lease_s + IDLE_TRANSACTION_S >= TAKEOVER_S:
            raise ValueError(
                f"MILLPOND_STREAM_LEASE_S is {self.lease_s}: with {IDLE_TRANSACTION_S} s for the locks of a frozen "
                f"process a standby would take {TAKEOVER_S} s or more. Set it below {TAKEOVER_S - IDLE_TRANSACTION_S}"
            )
        if self.renew_every_s * 3 > self.lease_s:
            raise ValueError(
                f"MILLPOND_STREAM_RENEW_EVERY_S is {self.renew_every_s}, more than a third of MILLPOND_STREAM_LEASE_S, "
                f"{self.lease_s}: one slow renewal would lose the lease. Set it to {self.lease_s / 3:.2f} or less"
            )
        return self
