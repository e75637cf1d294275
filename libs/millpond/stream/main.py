"""What a service's ``python -m`` does: logs, settings, traces, the host, and an exit code."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import structlog

from millpond.errors import MillpondError
from millpond.settings import (
    HealthSettings,
    KafkaSettings,
    LogSettings,
    PoolSettings,
    PostgresSettings,
    StreamSettings,
    TelemetrySettings,
    load,
)
from millpond.stream.host import Host, HostSettings
from millpond.stream.service import Service
from millpond.telemetry.logs import set_up_logs
from millpond.telemetry.traces import set_up_traces

log = structlog.get_logger(__name__)


def run_service(build: Callable[[], Service[Any]]) -> int:
    """Runs the service until SIGTERM or SIGINT, and returns the exit code: 1 if it refuses to run, and says why."""
    try:
        service = build()
    except MillpondError as refusal:
        log.error("refused", why=str(refusal))
        return 1
    _spare_the_collector()
    try:
        set_up_logs(load(LogSettings), service=service.name)
        settings = HostSettings(
            load(KafkaSettings), load(PostgresSettings), load(StreamSettings), load(HealthSettings), load(PoolSettings)
        )
        tracing = set_up_traces(load(TelemetrySettings), service=service.name)
        asyncio.run(Host(service, settings, tracing).run())
    except MillpondError as refusal:
        log.error("refused", service=service.name, why=str(refusal))
        return 1
    return 0


def _spare_the_collector() -> None:
    """A third of a busy worker's time went into looking for cycles among records, which have none (measured)."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
