"""What an operator can set about the pool's door."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from millpond.events.fields import Hash32
from millpond.events.ids import GatewayId
from millpond.settings.environment import Settings


class EdgeSettings(Settings):
    """What the HTTP side needs besides Kafka, the database and the pool's name."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_EDGE_")
    used_by: ClassVar[str] = "edge"

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    public_url: str = Field(
        default="http://127.0.0.1:8000",
        pattern=r"^https?://[^/\s]+$",
        description="How browsers and agents reach edge: scheme, host and port, without a slash at the end.",
    )
    receipt_key: Hash32 = Field(
        description="The pool's public key (Ed25519, 0x and 64 hex digits): metering countersigns receipts with it."
    )
    requests_per_s: float = Field(
        default=200.0, gt=0, le=10_000, description="Requests a second that one API key may make in the long run."
    )
    requests_burst: int = Field(
        default=1_000, ge=1, le=100_000, description="Requests that one API key may make at once, after a pause."
    )


class RequestsSettings(Settings):
    """What the process that reads gateways' own topics needs."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_EDGE_")
    used_by: ClassVar[str] = "edge's Kafka intake"

    request_gateways: Annotated[tuple[GatewayId, ...], NoDecode] = Field(
        min_length=1, description="Gateways that ask over Kafka, separated by commas; each has its own topic."
    )

    @field_validator("request_gateways", mode="before")
    @classmethod
    def _separated_by_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        return value
