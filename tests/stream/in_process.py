"""A service in the test's own process, on real Kafka and PostgreSQL: its rules fail on command, its metrics are at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from millpond.settings import HealthSettings, KafkaSettings, PoolSettings, PostgresSettings, StreamSettings
from millpond.stream.host import Host, HostSettings
from millpond.stream.record import Place
from millpond.stream.service import Service
from millpond.telemetry.traces import Tracing
from stream.workers import wait_until

POOL_ID = "pond"
CHAIN_ID = 31_337
# Bounds that only a hanging service reaches.
READY_WITHIN_S = 120.0
ENDED_WITHIN_S = 30.0


class Instance:
    """One running instance of a service."""

    def __init__(self, host: Host[Any]) -> None:
        self.host = host
        self.metrics = host.metrics

    def stops(self) -> dict[Place, str]:
        """Which partitions are stopped, and the reason."""
        reader = self.host.health._reader
        return {} if reader is None else {place: stop.reason for place, stop in reader.stops.items()}

    def why_not_ready(self) -> list[str]:
        return self.host.health.why_not_ready()

    def stopped_metric(self, place: Place, reason: str) -> float | None:
        return self.metrics.value(
            "millpond_stream_stopped_partitions", topic=place.topic, partition=place.partition, reason=reason
        )

    async def has_positions(self) -> None:
        def known() -> bool:
            reader, leading = self.host.health._reader, self.host.health._leadership
            assigned = reader is not None and bool(self.host.feed.assigned()) and reader.ready
            return assigned and (leading is None or leading.held is not None)

        await wait_until(known, READY_WITHIN_S)


@asynccontextmanager
async def running(
    service: Service[Any],
    bootstrap: str,
    dsn: str,
    *,
    operators: tuple[str, ...] = (),
    adapt: Callable[[Host[Any]], None] = lambda host: None,
    grace_s: float | None = None,
    **stream: Any,
) -> AsyncIterator[Instance]:
    """Runs the service until the block is left, in an orderly way. ``adapt`` may put a double at one of its ports.

    ``grace_s``: what still works after so long is cut off in the middle, as by a supervisor that has lost its patience.
    """
    settings = HostSettings(
        KafkaSettings(bootstrap_servers=bootstrap),
        PostgresSettings(dsn=dsn),
        StreamSettings(**stream),
        HealthSettings(),
        PoolSettings(id=POOL_ID, chain_id=CHAIN_ID, operators=operators),
    )
    host = Host(service, settings, Tracing(service=service.name, provider=None))
    adapt(host)
    # As ``Host.run`` does before FastStream begins.
    await host._check_topics()
    await host.broker.start()
    database = await host._open_database()
    serving = asyncio.create_task(host._serve(database))
    waiting = asyncio.current_task()
    assert waiting is not None
    instance = Instance(host)
    ready = asyncio.create_task(instance.has_positions())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        (serving if serving.done() else ready).result()
        # A service that dies ends the test at once, with what it died of.
        serving.add_done_callback(lambda done: waiting.cancel() if not host._stopping.is_set() else None)
        yield instance
    finally:
        ready.cancel()
        host._stopping.set()
        await asyncio.wait({serving}, timeout=ENDED_WITHIN_S if grace_s is None else grace_s)
        cut_off = not serving.done()
        serving.cancel()
        outcome = (await asyncio.gather(serving, return_exceptions=True))[0]
        await host.feed.close()
        await host.broker.stop()
        database._pool.terminate()
    assert grace_s is not None or not cut_off, "the service does not end"
    if isinstance(outcome, BaseException) and not cut_off:
        waiting.uncancel()
        raise outcome
