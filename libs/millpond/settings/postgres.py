"""How to reach PostgreSQL."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from millpond.settings.base import Settings


class PostgresSettings(Settings):
    """Each service has a schema and a role of its own."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_POSTGRES_")
    used_by: ClassVar[str] = "every service with a state"

    dsn: SecretStr = Field(description="postgresql://role:password@host:5432/database of this service's own role.")
    pool_connections_min: int = Field(default=1, ge=0, le=100, description="Connections kept open when idle.")
    pool_connections_max: int = Field(
        default=10,
        ge=1,
        le=100,
        description="Connections at most: one per partition that is committed at a time, and 3.",
    )
    connect_timeout_s: float = Field(default=5.0, gt=0, le=60, description="Seconds to wait for a new connection.")

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it must begin with postgresql:// or postgres://")
        return dsn

    @model_validator(mode="after")
    def _pool_has_a_size(self) -> Self:
        if self.pool_connections_min > self.pool_connections_max:
            raise ValueError(
                f"MILLPOND_POSTGRES_POOL_CONNECTIONS_MIN is {self.pool_connections_min}, more than "
                f"MILLPOND_POSTGRES_POOL_CONNECTIONS_MAX, {self.pool_connections_max}. Lower the one or raise the other"
            )
        return self
