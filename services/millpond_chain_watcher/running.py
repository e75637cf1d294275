"""One instance of the watcher from its start to its end: it waits for the lease, looks, and says why when it can't."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from dataclasses import dataclass
from typing import Final, Self

import structlog

from millpond.chain.client import EvmClient
from millpond.chain.rpc import Rpc
from millpond.errors import MillpondError
from millpond.events.topics import CHAIN_REVENUE, CHAIN_TRANSFERS
from millpond.settings import ChainSettings, HealthSettings, KafkaSettings, PoolSettings, PostgresSettings, load
from millpond.stream.backoff import backoff_s
from millpond.stream.database import DatabaseAway, Lease, LeaseLost
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.leadership import Leadership, LeaseTiming
from millpond.stream.log import Publisher
from millpond.stream.patience import patiently, pause, until_stopped
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.probes import Probes
from millpond.stream.source import Source
from millpond.stream.starting import check_topics
from millpond.telemetry.metrics import Metrics
from millpond_chain_watcher.decoding import Watched
from millpond_chain_watcher.reading import ChainReader
from millpond_chain_watcher.settings import WatcherSettings
from millpond_chain_watcher.store import WatcherStore, schema
from millpond_chain_watcher.watcher import Watcher

NAME: Final = "chain_watcher"
# A node that is in trouble is asked every so often, not more.
RETRY_S_MAX: Final = 15.0
# A step that takes longer than this hangs: each question has its own limit.
STEP_S_MAX: Final = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """All that one instance reads from the environment."""

    watcher: WatcherSettings
    chain: ChainSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    pool: PoolSettings
    health: HealthSettings

    @classmethod
    def load(cls) -> Self:
        """Raises what ``millpond.settings.load`` raises."""
        return cls(
            watcher=load(WatcherSettings),
            chain=load(ChainSettings),
            kafka=load(KafkaSettings),
            postgres=load(PostgresSettings),
            pool=load(PoolSettings),
            health=load(HealthSettings),
        )

    def watched(self) -> Watched:
        return Watched(
            chain_id=self.pool.chain_id,
            controller=self.watcher.controller,
            orchestrator=self.watcher.orchestrator,
            treasury=self.watcher.treasury,
            payouts=self.chain.payouts,
        )


class ChainWatcher:
    """``run`` returns after SIGTERM or SIGINT, and raises what it can't go on with: it is then to be started again."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._metrics = Metrics(service=NAME)
        self._stopping = asyncio.Event()
        self._leadership: Leadership | None = None
        self._why_not: str | None = "starting"

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._stopping.set)
        async with Probes(self._metrics, self._why_not_ready, self._settings.health, self._stopping):
            with until_stopped():
                await self._open_and_watch()

    async def _open_and_watch(self) -> None:
        kafka = KafkaLog(self._settings.kafka.client_options())
        await patiently(lambda: check_topics(NAME, (CHAIN_REVENUE, CHAIN_TRANSFERS), kafka), self._stopping)
        database = await patiently(self._open_database, self._stopping)
        owner = f"{socket.gethostname()}/{os.getpid()}"
        self._leadership = Leadership(database, "watcher", owner, LeaseTiming(), time.monotonic)
        try:
            async with (
                Source(NAME, self._open_publisher, self._metrics) as source,
                Rpc(self._settings.chain.rpc_url.get_secret_value()) as rpc,
            ):
                watcher = self._watcher(rpc, source, database)
                self._why_not = None
                await self._leadership.lead(lambda lease: self._watch(watcher, lease), self._stopping)
        finally:
            await database.close()

    def _watcher(self, rpc: Rpc, source: Source, database: PostgresDatabase) -> Watcher:
        settings, watched = self._settings.watcher, self._settings.watched()
        client = EvmClient(rpc, watched.chain_id)
        whose = f"orchestrator {watched.orchestrator} of Controller {watched.controller} on chain {watched.chain_id}"
        return Watcher(
            client=client,
            reader=ChainReader(client, watched, settings.targets),
            store=WatcherStore(database, whose),
            source=source,
            watched=watched,
            from_block=settings.from_block,
            range_blocks_max=settings.range_blocks_max,
            now_ms=lambda: time.time_ns() // 1_000_000,
        )

    async def _watch(self, watcher: Watcher, lease: Lease) -> None:
        """Looks until told to stop. What goes wrong is told, and tried again: the position has not moved."""
        failures = 0
        while not self._stopping.is_set():
            try:
                async with asyncio.timeout(STEP_S_MAX):
                    more = await watcher.step(lease)
            except (LeaseLost, DatabaseAway):
                raise
            except (MillpondError, TimeoutError) as trouble:
                self._why_not = f"{type(trouble).__name__}: {trouble}"
                log.warning("looks_again", why=self._why_not, failures=failures)
                await pause(backoff_s(failures, longest_s=RETRY_S_MAX), self._stopping)
                failures += 1
            else:
                failures, self._why_not = 0, None
                await pause(0 if more else self._settings.watcher.poll_s, self._stopping)

    def _why_not_ready(self) -> list[str]:
        return [self._why_not] if self._why_not is not None else []

    async def _open_database(self) -> PostgresDatabase:
        postgres = self._settings.postgres
        dsn, connections = postgres.dsn.get_secret_value(), postgres.pool_connections_max
        return await open_database(dsn, NAME, service_schema=schema(), connections_max=connections)

    async def _open_publisher(self) -> Publisher:
        return await KafkaPublisher.open(self._settings.kafka.client_options())
