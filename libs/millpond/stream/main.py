"""What a program's ``python -m`` does: logs, settings, traces, the work itself, and an exit code."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
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
from millpond.telemetry.traces import Tracing, set_up_traces

log = structlog.get_logger(__name__)


def run_service(build: Callable[[], Service[Any]]) -> int:
    """Runs the service until SIGTERM or SIGINT, and returns the exit code: 1 if it refuses to run, and says why."""
    try:
        service = build()
    except MillpondError as refusal:
        log.error("refused", why=str(refusal))
        return 1

    def host(tracing: Tracing) -> Host[Any]:
        settings = HostSettings(
            load(KafkaSettings), load(PostgresSettings), load(StreamSettings), load(HealthSettings), load(PoolSettings)
        )
        return Host(service, settings, tracing)

    return run_program(service.name, lambda tracing: host(tracing).run())


def run_program(name: str, start: Callable[[Tracing], Coroutine[Any, Any, None]]) -> int:
    """The same for a program that is no ``Service``. ``start`` reads its settings; what it returns handles the signals."""
    try:
        set_up_logs(load(LogSettings), service=name)
        tracing = set_up_traces(load(TelemetrySettings), service=name)
        _spare_the_collector()
        try:
            asyncio.run(start(tracing))
        finally:
            tracing.shutdown()
    except MillpondError as refusal:
        log.error("refused", service=name, why=str(refusal))
        return 1
    return 0


def _spare_the_collector() -> None:
    """A third of a busy worker's time went into looking for cycles among records, which have none (measured)."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
