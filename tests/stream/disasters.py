"""What befalls a service's database and its log, and the operator at his prompt afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from typer.testing import CliRunner, Result

from millpond.events.topic import Topic
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.record import Place, Record
from millpond.stream.service import Service
from millpond_cli.app import app
from stream.in_process import running
from stream.topics_made import make_topics
from stream.workers import wait_until

# Bounds that only something broken reaches.
CLI_WITHIN_S = 120.0
CAUGHT_UP_WITHIN_S = 120.0


async def millpond(*arguments: str, bootstrap: str, dsn: str = "postgresql://nobody", **environment: str) -> Result:
    """The command line, as an operator runs it; in a thread, since it has an event loop of its own."""
    variables = {"MILLPOND_KAFKA_BOOTSTRAP_SERVERS": bootstrap, "MILLPOND_POSTGRES_DSN": dsn, **environment}
    async with asyncio.timeout(CLI_WITHIN_S):
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments, env=variables))


def said(done: Result) -> str:
    """All its words, on one line: a terminal's width must not part what a test looks for."""
    return " ".join(done.output.split())


@contextmanager
def copied(dsn: str) -> Iterator[str]:
    """A copy of a database nobody is connected to: what a dump taken now would restore. Dropped in the end."""
    name = urlsplit(dsn).path.removeprefix("/")
    copy = f"{name}_copy"
    _execute(dsn, f"CREATE DATABASE {copy} TEMPLATE {name}")
    try:
        yield dsn.replace(f"/{name}", f"/{copy}")
    finally:
        _execute(dsn, f"DROP DATABASE {copy} WITH (FORCE)")


def _execute(dsn: str, statement: str) -> None:
    name = urlsplit(dsn).path.removeprefix("/")

    async def execute() -> None:
        connection = await asyncpg.connect(dsn.replace(f"/{name}", "/postgres"))
        try:
            # A process that has just ended is still listed by the server for a moment.
            for _ in range(100):
                try:
                    return await connection.execute(statement)
                except asyncpg.ObjectInUseError:
                    await asyncio.sleep(0.05)
            return await connection.execute(statement)
        finally:
            await connection.close()

    _in_a_loop_of_its_own(execute)


def _in_a_loop_of_its_own(work: Callable[[], Awaitable[Any]]) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work()).result()


async def caught_up(bootstrap: str, dsn: str, service: Service[Any], *, control_records: int = 0) -> bool:
    """Whether the service has read all its inputs, and published all it decided.

    ``control_records``: how many offsets at a partition's end hold no data, which no position moves over.
    """
    places = [Place(topic.name, partition) for topic in service.reads for partition in range(topic.partitions)]
    extents = await KafkaLog({"bootstrap_servers": bootstrap}).extents(places)
    connection = await asyncpg.connect(dsn, server_settings={"search_path": service.name})
    try:
        rows = await connection.fetch("SELECT topic, partition, next_offset FROM positions")
        published = await connection.fetchval(
            "SELECT coalesce((SELECT max(number) FROM outbox), 0) <= (SELECT number FROM relay_mark)"
        )
    except asyncpg.UndefinedTableError:
        return False
    finally:
        await connection.close()
    at = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
    return published and all(
        at.get(tuple(place), 0) + control_records >= extent.end for place, extent in extents.items()
    )


async def run_until_caught_up(
    bootstrap: str, dsn: str, service: Service[Any], *, control_records: int = 0, **options: Any
) -> None:
    """Runs one instance, lets it finish its work, and ends it in an orderly way."""
    async with running(service, bootstrap, dsn, **options):
        await wait_until(
            lambda: caught_up(bootstrap, dsn, service, control_records=control_records), CAUGHT_UP_WITHIN_S
        )


async def rows(dsn: str, schema: str, query: str, *arguments: object) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": schema})
    try:
        return [tuple(row) for row in await connection.fetch(query, *arguments)]
    finally:
        await connection.close()


async def lose_tail(bootstrap: str, topic: Topic, records: Sequence[Record], keep: Callable[[Record], bool]) -> None:
    """Deletes the topic and makes it again with fewer of the same records, at the same offsets."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic.name])
        async with asyncio.timeout(20):
            while topic.name in await admin.list_topics():  # noqa: ASYNC110 - Kafka has no event for it
                await asyncio.sleep(0.02)
    finally:
        await admin.close()
    await make_topics(bootstrap, [topic])
    await write(bootstrap, [record for record in records if record.topic == topic.name and keep(record)])


async def write(bootstrap: str, records: Sequence[Record]) -> None:
    """Writes records as they are, each where its offset says."""
    publisher = await KafkaPublisher.open({"bootstrap_servers": bootstrap})
    try:
        for place in dict.fromkeys(record.place for record in records):
            there = [record for record in records if record.place == place]
            sent = [Outbound(r.key, r.value, r.headers, r.timestamp_ms) for r in there]  # type: ignore[arg-type]
            assert await (await publisher.send(place, sent)) == there[-1].offset + 1
    finally:
        await publisher.close()
