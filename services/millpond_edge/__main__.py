"""``python -m millpond_edge``: the pool's door."""

from __future__ import annotations

import asyncio
import sys

import structlog

from millpond.errors import MillpondError
from millpond.settings import (
    BlobSettings,
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
from millpond_edge.running import Edge, RunSettings
from millpond_edge.settings import EdgeSettings

log = structlog.get_logger(__name__)


def main() -> int:
    """Runs edge until SIGTERM or SIGINT, and returns the exit code: 1 if it can't start or go on, and says why."""
    try:
        set_up_logs(load(LogSettings), service="edge")
        settings = RunSettings(
            edge=load(EdgeSettings),
            kafka=load(KafkaSettings),
            postgres=load(PostgresSettings),
            pool=load(PoolSettings),
            blobs=load(BlobSettings),
            health=load(HealthSettings),
        )
        tracing = set_up_traces(load(TelemetrySettings), service="edge")
        try:
            asyncio.run(Edge(settings).run())
        finally:
            tracing.shutdown()
    except MillpondError as refusal:
        log.error("refused", service="edge", why=str(refusal))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
