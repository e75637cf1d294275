"""How to reach PostgreSQL."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class PostgresSettings(Settings):
    """Each service has a schema and a role of its own."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_POSTGRES_")
    used_by: ClassVar[str] = "every service with a state"

    dsn: SecretStr = Field(description="postgresql://role:password@host:5432/database of this service's own role.")
    pool_connections_max: int = Field(
        default=6,
        ge=4,
        le=100,
        description="Connections at most: one listens, one decides, one publishes, one renews leases.",
    )

    @field_validator("dsn")
    @classmethod
    def _is_a_dsn(cls, dsn: SecretStr) -> SecretStr:
        if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError("it must begin with postgresql:// or postgres://")
        return dsn
