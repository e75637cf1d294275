"""One instance of edge from its start to its end: connections out, read models, the server, and the way down."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import structlog
from faststream.kafka import KafkaBroker
from uvicorn import Config

from millpond.blobs import BlobStore
from millpond.events.topic import Topic
from millpond.events.topics import AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS
from millpond.identity import Domain
from millpond.settings import BlobSettings, HealthSettings, KafkaSettings, PoolSettings, PostgresSettings, load
from millpond.stream.cursor import Cursor
from millpond.stream.follow import FollowEnded
from millpond.stream.kafka.feed import KafkaFeed
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.listening import Listener
from millpond.stream.log import Publisher
from millpond.stream.patience import patiently, until_stopped
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.probes import Probes
from millpond.stream.process import Clock
from millpond.stream.record import Place
from millpond.stream.source import Source
from millpond.stream.starting import check_topics
from millpond.telemetry.metrics import Metrics
from millpond_edge.agents.messages import MESSAGE_BYTES_MAX
from millpond_edge.agents.roster import Roster
from millpond_edge.agents.sessions import schema as agents_schema
from millpond_edge.app import create_app
from millpond_edge.credentials.limits import RateLimits
from millpond_edge.door import Door
from millpond_edge.joining.store import schema as joining_schema
from millpond_edge.settings import EdgeSettings
from millpond_edge.view.view import TOPICS as FOLLOWED
from millpond_edge.view.view import View

NAME: Final = "edge"
# What edge writes and doesn't follow besides.
WRITTEN: tuple[Topic, ...] = (AGENT_HEARTBEATS, AGENT_PROGRESS, AGENT_RESULTS)
FEED_RECORDS_MAX = 500
# How long open requests may take to end once edge is told to stop; streams and agents' connections end by themselves.
GOODBYE_S = 5
# An agent that answers no ping is gone: its place is free before the pool calls its GPUs so.
PING_EVERY_S, PONG_S_MAX = 10.0, 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class RunSettings:
    """All that one instance reads from the environment."""

    edge: EdgeSettings
    kafka: KafkaSettings
    postgres: PostgresSettings
    pool: PoolSettings
    blobs: BlobSettings
    health: HealthSettings

    @classmethod
    def load(cls) -> Self:
        """Raises what ``millpond.settings.load`` raises."""
        return cls(
            edge=load(EdgeSettings),
            kafka=load(KafkaSettings),
            postgres=load(PostgresSettings),
            pool=load(PoolSettings),
            blobs=load(BlobSettings),
            health=load(HealthSettings),
        )


class Edge:
    """``run`` returns after SIGTERM or SIGINT, and raises what edge can't go on with: it is then to be started again."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._metrics = Metrics(service=NAME)
        self._log = KafkaLog(settings.kafka.client_options())
        self._stopping = asyncio.Event()
        self._view: View | None = None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._stopping.set)
        async with Probes(self._metrics, self._why_not_ready, self._settings.health, self._stopping):
            with until_stopped():
                await self._open_and_serve()

    def _why_not_ready(self) -> list[str]:
        if self._view is None:
            return ["starting: Kafka and the database have not both answered yet"]
        return self._view.why_not_ready()

    async def _open_and_serve(self) -> None:
        settings = self._settings
        await patiently(lambda: check_topics(NAME, (*FOLLOWED, *WRITTEN), self._log), self._stopping)
        database = await patiently(self._open_database, self._stopping)
        broker = KafkaBroker(
            settings.kafka.bootstrap_servers.split(","),
            security=settings.kafka.broker_security(),
            allow_auto_create_topics=False,
            logger=None,
        )
        feed = KafkaFeed(broker, settings.kafka.client_options(), FOLLOWED, None, FEED_RECORDS_MAX)
        view = View(feed, self._metrics)
        try:
            await broker.start()
            async with Source(NAME, self._open_publisher, self._metrics) as source:
                door = self._door(source, view, database)
                roster = Roster(door)
                self._view = view
                # The first of them that fails ends the others, and the process.
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._until_stopped(view.run(self._stopping)))
                    tasks.create_task(self._catch_up(view))
                    tasks.create_task(self._until_stopped(self._serve_door(door, roster)))
                    tasks.create_task(self._until_stopped(roster.run(self._stopping)))
        finally:
            await feed.close()
            await broker.stop()
            await database.close()

    def _door(self, source: Source, view: View, database: PostgresDatabase) -> Door:
        settings = self._settings
        return Door(
            settings=settings.edge,
            domain=Domain(pool=settings.pool.id, chain_id=settings.pool.chain_id),
            source=source,
            blobs=BlobStore.at(settings.blobs.url),
            view=view,
            database=database.pool,
            clock=Clock(lambda: time.time_ns() // 1_000_000, time.monotonic),
            limits=RateLimits(
                rate=settings.edge.requests_per_s, burst=settings.edge.requests_burst, monotonic_s=time.monotonic
            ),
            stopping=self._stopping,
        )

    async def _serve_door(self, door: Door, roster: Roster) -> None:
        """Until edge stops. Raises ``CannotListen``."""
        _allow_connections()
        config = Config(
            create_app(door, roster),
            host=self._settings.edge.host,
            port=self._settings.edge.port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=GOODBYE_S,
            ws_max_size=MESSAGE_BYTES_MAX,
            ws_ping_interval=PING_EVERY_S,
            ws_ping_timeout=PONG_S_MAX,
            # Short signed texts don't shrink, and each connection would cost tables.
            ws_per_message_deflate=False,
        )
        server = Listener(config, "MILLPOND_EDGE")
        serving = asyncio.create_task(server.serve())
        try:
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
        finally:
            server.should_exit = True
            await serving

    async def _until_stopped(self, work: Awaitable[None]) -> None:
        """Whoever ends, even without a failure, ends all."""
        try:
            await work
        finally:
            self._stopping.set()

    async def _catch_up(self, view: View) -> None:
        """Routes open once the models have what was on the topics when edge started: an empty model would refuse everybody."""
        places = [Place(topic.name, partition) for topic in FOLLOWED for partition in range(topic.partitions)]
        extents = await patiently(lambda: self._log.extents(places), self._stopping)
        # Ended or failed: that is told by whoever runs the view.
        with suppress(FollowEnded):
            await view.wait_for(Cursor({place: extent.end for place, extent in extents.items()}))
            view.caught_up.set()
            log.info("open", host=self._settings.edge.host, port=self._settings.edge.port)

    async def _open_database(self) -> PostgresDatabase:
        postgres = self._settings.postgres
        return await open_database(
            postgres.dsn.get_secret_value(),
            NAME,
            service_schema=joining_schema() + agents_schema(),
            connections_max=postgres.pool_connections_max,
        )

    async def _open_publisher(self) -> Publisher:
        return await KafkaPublisher.open(self._settings.kafka.client_options())


def _allow_connections() -> None:
    """Each agent is an open file; the usual limit of 1,024 is for programs that still call select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
