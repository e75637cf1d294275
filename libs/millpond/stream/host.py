"""Runs a service: connects, checks that database and log belong together, reads, relays, answers for its health."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

import structlog
from faststream.asgi import AsgiFastStream
from faststream.kafka import KafkaBroker
from uvicorn import Config

from millpond.errors import MillpondError
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Topic
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import Action, Domain, verify_action
from millpond.settings.health import HealthSettings
from millpond.settings.kafka import KafkaSettings
from millpond.settings.pool import PoolSettings
from millpond.settings.postgres import PostgresSettings
from millpond.settings.stream import StreamSettings
from millpond.stream.command_desk import CommandDesk
from millpond.stream.database import Database, DatabaseAway, Lease, RelayProgress
from millpond.stream.decision import State
from millpond.stream.feed import LogAway
from millpond.stream.health import Health, routes
from millpond.stream.kafka.feed import KafkaFeed
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.leadership import Leadership, LeaseTiming
from millpond.stream.listening import Listener
from millpond.stream.log import Publisher
from millpond.stream.patience import Stopped, patiently, until_stopped
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.process import Clock, Process
from millpond.stream.reader import Reader
from millpond.stream.record import Place
from millpond.stream.relay import Relay
from millpond.stream.service import Service
from millpond.stream.starting import check_published, check_topics
from millpond.stream.transact import Transactor
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import Tracing

GAUGES_EVERY_S = 1.0
# A topic that was deleted and made again under a running group is no member's until somebody looks: aiokafka's own
# five minutes would be five minutes of silence.
METADATA_MAX_AGE_MS = 10_000
# How long a stopping process may take to finish its transaction and publish what it decided.
STOP_S = 10.0
# And how long its clients may then take to say goodbye: to a broker that doesn't answer they would try for 50 s.
GOODBYE_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class HostSettings:
    """What a service needs to run; each read once from the environment by its ``app.py``."""

    kafka: KafkaSettings
    postgres: PostgresSettings
    stream: StreamSettings
    health: HealthSettings
    pool: PoolSettings


class Host(Generic[State]):
    """One instance of a service. ``run`` returns after SIGTERM or SIGINT; what it refuses to run on is raised."""

    def __init__(self, service: Service[State], settings: HostSettings, tracing: Tracing) -> None:
        self.service = service
        self.settings = settings
        self.tracing = tracing
        self.metrics = Metrics(service=service.name)
        self.clock = Clock(lambda: time.time_ns() // 1_000_000, time.monotonic)
        self.owner = f"{socket.gethostname()}/{os.getpid()}"
        self.log = KafkaLog(settings.kafka.client_options())
        self.reads = _with_own_topics(service)
        self.broker = KafkaBroker(
            settings.kafka.bootstrap_servers.split(","),
            security=settings.kafka.broker_security(),
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            # FastStream would make missing topics, with one partition each, for ever.
            allow_auto_create_topics=False,
            logger=None,
        )
        group = service.name if service.shape == "grouped" else None
        connection = settings.kafka.client_options()
        self.feed = KafkaFeed(self.broker, connection, self.reads, group, settings.stream.batch_records_max)
        self.health = Health(self.metrics, self.clock.monotonic_s, settings.stream.live_after_s)
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        work: list[asyncio.Task[None]] = []
        app = AsgiFastStream(self.broker, logger=None, asgi_routes=routes(self.health))
        health = self.settings.health
        # lifespan "on": an app that could not start ends the process; otherwise it would serve on, and do nothing.
        config = Config(app, host=health.host, port=health.port, log_config=None, access_log=False, lifespan="on")
        server = Listener(config, "MILLPOND_HEALTH")
        asked_to_end = asyncio.Event()

        def end() -> None:
            asked_to_end.set()
            server.should_exit = True

        async def wait_for_kafka() -> None:
            # FastStream's broker starts next, and can only once; for a topic that is missing it would wait in silence.
            try:
                with suppress(Stopped):
                    await patiently(self._check_topics, asked_to_end)
            except MillpondError as refusal:
                self._failure = refusal
                raise

        async def start() -> None:
            work.append(asyncio.create_task(self._work(server)))

        async def stop() -> None:
            self._stopping.set()
            if work:
                await asyncio.wait(work, timeout=STOP_S)

        app.on_startup(wait_for_kafka)
        app.after_startup(start)
        app.on_shutdown(stop)
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, end)
        await self._serve_until(asked_to_end, server)
        if self._failure is not None:
            raise self._failure
        if not work and not asked_to_end.is_set():
            raise LogAway(cause="it went away while the service started")

    async def _serve_until(self, asked_to_end: asyncio.Event, server: Listener) -> None:
        """Serves until it is told to end, or the work has ended; from then on everything is bounded (incident 52)."""
        serving = asyncio.create_task(server.serve())
        ending = [asyncio.create_task(event.wait()) for event in (asked_to_end, self._stopping)]
        await asyncio.wait({serving, *ending}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({serving}, timeout=STOP_S + GOODBYE_S)
        for waiting in ending:
            waiting.cancel()
        if serving.done():
            serving.result()
            return
        log.warning("cut_off", why="Kafka or the database did not answer while the service closed its connections")
        serving.cancel()

    async def _check_topics(self) -> None:
        """Raises ``TopicsDiffer``, ``LogAway``."""
        await check_topics(self.service.name, (*self.reads, *self.service.writes), self.log)

    async def _work(self, server: Listener) -> None:
        try:
            with until_stopped():
                database = await self._open_database()
                try:
                    await self._serve(database)
                finally:
                    await self.feed.close()
                    await database.close()
        # Kept for run() to raise: an exception in a task would otherwise be seen by nobody, and the process would idle.
        except BaseException as failure:
            self._failure = failure
        finally:
            server.should_exit = True

    async def _open_database(self) -> PostgresDatabase:
        postgres = self.settings.postgres
        return await patiently(
            lambda: open_database(
                postgres.dsn.get_secret_value(),
                self.service.name,
                service_schema=self.service.store.schema,
                connections_max=postgres.pool_connections_max,
            ),
            self._stopping,
        )

    async def _serve(self, database: PostgresDatabase) -> None:
        await self._check(database)
        process, reader = self._process(database)
        relaying = self._leadership(database, "relay")
        leading = self._leadership(database, "active") if self.service.shape == "single_active" else None
        self.health.watch(process, reader, leading)
        relay = Relay(self.service.name, database, self._open_publisher, self.metrics, self.tracing)

        async def publish(lease: Lease) -> None:
            await relay.run(lease, await self._check(database), self._stopping)

        async with asyncio.TaskGroup() as tasks:
            gauges = tasks.create_task(self._gauges(database, leading))
            published = tasks.create_task(relaying.lead(publish, self._stopping))
            if leading is None:
                await process.run_grouped(self._stopping)
            else:
                await leading.lead(partial(process.run_active, stopping=self._stopping), self._stopping)
            # What was decided last is still to be published.
            await published
            gauges.cancel()

    def _process(self, database: Database) -> tuple[Process[State], Reader]:
        service = self.service
        desk = CommandDesk(service.name, service.reads, service.dead_letters, self._verify)
        reader = Reader(self.reads, self.feed, database, self.metrics, self.clock.monotonic_s)
        transactor = Transactor(service, database, desk)
        process = Process(service, reader, self.feed, database, transactor, self.metrics, self.tracing, self.clock)
        return process, reader

    def _verify(self, command: OperatorCommanded) -> Action:
        pool = self.settings.pool
        domain = Domain(pool=pool.id, chain_id=pool.chain_id)
        return verify_action(command, domain=domain, signers=frozenset(pool.operators))

    def _leadership(self, database: Database, name: str) -> Leadership:
        timing = LeaseTiming(self.settings.stream.lease_s, self.settings.stream.renew_every_s)
        return Leadership(database, name, self.owner, timing, self.clock.monotonic_s)

    async def _open_publisher(self) -> Publisher:
        return await KafkaPublisher.open(self.settings.kafka.client_options())

    async def _check(self, database: Database) -> dict[Place, RelayProgress]:
        writes = (*self.service.writes, self.service.dead_letters)
        return await patiently(lambda: check_published(self.service.name, writes, database, self.log), self._stopping)

    async def _gauges(self, database: Database, leading: Leadership | None) -> None:
        while True:
            with suppress(DatabaseAway):
                self.health.saw_database(*await database.outbox_depth())
            if leading is not None:
                self.metrics.set("millpond_stream_lease_active", leading.held is not None)
                if leading.held is not None:
                    self.metrics.set("millpond_stream_lease_epoch", leading.held.epoch)
            await asyncio.sleep(GAUGES_EVERY_S)


def _with_own_topics(service: Service[Any]) -> tuple[Topic, ...]:
    """What a service reads besides: the operator's commands, and what was readmitted on its own dead-letter topic."""
    named = {topic.name: topic for topic in (*service.reads, OPERATOR_COMMANDS, service.dead_letters)}
    return tuple(named.values())
