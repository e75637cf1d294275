"""``python -m millpond_chain_watcher``: tells the pool what the chain paid it, and what became of its payments."""

from __future__ import annotations

import asyncio
import sys

import structlog

from millpond.errors import MillpondError
from millpond.settings import (
    ChainSettings,
    HealthSettings,
    KafkaSettings,
    LogSettings,
    PoolSettings,
    PostgresSettings,
    TelemetrySettings,
    load,
)
from millpond.telemetry.logs import set_up_logs
from millpond.telemetry.traces import set_up_traces
from millpond_chain_watcher.running import NAME, ChainWatcher, RunSettings
from millpond_chain_watcher.settings import WatcherSettings

log = structlog.get_logger(__name__)


def main() -> int:
    """Runs until SIGTERM or SIGINT, and returns the exit code: 1 if it can't start or go on, and says why."""
    try:
        set_up_logs(load(LogSettings), service=NAME)
        settings = RunSettings(
            watcher=load(WatcherSettings),
            chain=load(ChainSettings),
            kafka=load(KafkaSettings),
            postgres=load(PostgresSettings),
            pool=load(PoolSettings),
            health=load(HealthSettings),
        )
        tracing = set_up_traces(load(TelemetrySettings), service=NAME)
        try:
            asyncio.run(ChainWatcher(settings).run())
        finally:
            tracing.shutdown()
    except MillpondError as refusal:
        log.error("refused", service=NAME, why=str(refusal))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
