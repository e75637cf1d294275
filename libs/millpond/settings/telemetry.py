"""Where traces go."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class TelemetrySettings(Settings):
    """Traces are off unless an endpoint is set. Metrics are always on, at the health port."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_TELEMETRY_")
    used_by: ClassVar[str] = "every service"

    otlp_endpoint: str | None = Field(
        default=None,
        pattern="^https?://[^/]+",
        validation_alias=AliasChoices("MILLPOND_TELEMETRY_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Base URL of an OTLP/HTTP receiver of traces, like http://localhost:4318; unset: no traces.",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of traces that are kept, when nobody before us has decided."
    )
