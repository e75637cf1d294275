"""What a tally service has applied, as its database and its metrics say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg

from millpond.events.deadletters import DeadLetterEvent
from millpond.stream.record import Place
from millpond_cli.letters import letter_event
from stream.in_process import Instance
from stream.topics_made import read_all

Buckets = dict[str, tuple[int, int]]


async def buckets(dsn: str, name: str) -> Buckets:
    """By bucket: the total, and of how many drops."""
    rows = await _fetch(dsn, f'SELECT * FROM "{name}".buckets')
    return {row["bucket"]: (row["total"], row["drops"]) for row in rows}


async def positions(dsn: str, name: str, topic: str) -> dict[int, int]:
    rows = await _fetch(dsn, f'SELECT partition, next_offset FROM "{name}".positions WHERE topic = $1', topic)
    return {row["partition"]: row["next_offset"] for row in rows}


def buckets_are(dsn: str, name: str, wanted: Buckets) -> Callable[[], Awaitable[bool]]:
    async def are() -> bool:
        return await buckets(dsn, name) == wanted

    return are


def applied(instance: Instance, topic: str) -> float:
    """Records that this instance has applied."""
    return instance.metrics.value("millpond_stream_records_total", topic=topic) or 0


def retries(instance: Instance, reason: str) -> float:
    return instance.metrics.value("millpond_stream_retries_total", reason=reason) or 0


def position_of(instance: Instance, place: Place) -> int:
    reader = instance.host.health._reader
    assert reader is not None
    return reader._readings[place].position.next_offset


async def letters_told(bootstrap: str, name: str) -> list[DeadLetterEvent]:
    """The events on the service's dead-letter topic, by place."""
    found = map(letter_event, await read_all(bootstrap, f"{name}.deadletters.v1"))
    return [event for event in found if event is not None]


async def _fetch(dsn: str, query: str, *arguments: object) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()
