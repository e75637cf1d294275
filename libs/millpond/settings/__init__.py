"""What an operator can set: one small frozen class per concern, read from ``MILLPOND_*`` variables."""

from typing import Final

from millpond.settings.blobs import BlobSettings
from millpond.settings.chain import ChainSettings, ChecksumAddress, LivepeerSettings
from millpond.settings.environment import Settings, Variable, load, unknown_variables, variables
from millpond.settings.errors import SettingsInvalid
from millpond.settings.health import HealthSettings
from millpond.settings.kafka import KafkaSettings
from millpond.settings.logs import LogSettings
from millpond.settings.pool import PoolSettings
from millpond.settings.postgres import PostgresSettings
from millpond.settings.stream import StreamSettings
from millpond.settings.telemetry import TelemetrySettings

# Every class of settings there is: what `millpond settings` lists, and what a misspelt variable is compared with.
SETTINGS: Final[tuple[type[Settings], ...]] = (
    PoolSettings,
    KafkaSettings,
    PostgresSettings,
    StreamSettings,
    BlobSettings,
    ChainSettings,
    LivepeerSettings,
    HealthSettings,
    LogSettings,
    TelemetrySettings,
)

__all__ = [
    "SETTINGS",
    "BlobSettings",
    "ChainSettings",
    "ChecksumAddress",
    "HealthSettings",
    "KafkaSettings",
    "LivepeerSettings",
    "LogSettings",
    "PoolSettings",
    "PostgresSettings",
    "Settings",
    "SettingsInvalid",
    "StreamSettings",
    "TelemetrySettings",
    "Variable",
    "load",
    "unknown_variables",
    "variables",
]
