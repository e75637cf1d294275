"""A naive consumer, as in aiokafka #929: apply the batch, then commit its offsets; and a naive leader: look, then act.

Run as a program by the test beside it, with the same orders as ``stream.staged_tally``.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError

from stream.staged_tally import Pause
from stream.tally import PARTITIONS, BucketStore, Drop, drops_topic

LEASE_S = 2.5


async def apply(connection: asyncpg.Connection, drops: list[Drop]) -> None:
    """All of a batch in one transaction: but nothing in it says whose the partitions are."""
    async with connection.transaction():
        for drop in drops:
            await connection.execute(
                "INSERT INTO buckets VALUES ($1, $2, 1) ON CONFLICT (bucket)"
                " DO UPDATE SET total = buckets.total + excluded.total, drops = buckets.drops + 1",
                drop.bucket,
                drop.amount,
            )


async def grouped(consumer: AIOKafkaConsumer, connection: asyncpg.Connection, pause: Pause) -> None:
    while True:
        batches = await consumer.getmany(timeout_ms=100)
        drops = [Drop.model_validate_json(record.value) for records in batches.values() for record in records]
        if drops:
            await pause.come()
            await apply(connection, drops)
        try:
            await consumer.commit()
        except (CommitFailedError, IllegalStateError) as lost:
            print(f"commit failed: {lost!r}", flush=True)


async def leading(consumer: AIOKafkaConsumer, connection: asyncpg.Connection, pause: Pause) -> None:
    """Offsets are in the database, under a lease with a time to live; it is asked for before the work, not in it."""
    partitions = [TopicPartition(drops_topic(os.environ["TALLY_NAME"]).name, n) for n in range(PARTITIONS)]
    consumer.assign(partitions)
    led_before = False
    while True:
        if not await lead(connection):
            led_before = False
            await asyncio.sleep(0.1)
            continue
        if not led_before:
            led_before = True
            for row in await connection.fetch("SELECT * FROM offsets"):
                consumer.seek(partitions[row["partition"]], row["next_offset"])
        batches = await consumer.getmany(timeout_ms=100)
        drops = [Drop.model_validate_json(record.value) for records in batches.values() for record in records]
        if drops:
            await pause.come()
            await apply(connection, drops)
            for partition, records in batches.items():
                await connection.execute(
                    "UPDATE offsets SET next_offset = $2 WHERE partition = $1",
                    partition.partition,
                    records[-1].offset + 1,
                )


async def lead(connection: asyncpg.Connection) -> bool:
    """The lease is ours if we hold it, or if its holder has been silent."""
    return bool(
        await connection.fetchval(
            "UPDATE lease SET owner = $1, until = clock_timestamp() + make_interval(secs => $2)"
            " WHERE owner = $1 OR until < clock_timestamp() RETURNING true",
            os.getpid(),
            LEASE_S,
        )
    )


async def set_up(connection: asyncpg.Connection, name: str) -> None:
    await connection.execute(f"SELECT pg_advisory_lock(929); CREATE SCHEMA IF NOT EXISTS {name}")
    await connection.execute(f"SET search_path = {name}; {BucketStore.schema}")
    await connection.execute("CREATE TABLE IF NOT EXISTS lease (owner bigint, until timestamptz)")
    await connection.execute("CREATE TABLE IF NOT EXISTS offsets (partition int PRIMARY KEY, next_offset bigint)")
    await connection.execute(
        "INSERT INTO lease SELECT 0, '-infinity' WHERE NOT EXISTS (SELECT FROM lease);"
        f"INSERT INTO offsets SELECT n, 0 FROM generate_series(0, {PARTITIONS - 1}) n ON CONFLICT DO NOTHING;"
        "SELECT pg_advisory_unlock(929)"
    )


async def main() -> None:
    name, shape = os.environ["TALLY_NAME"], os.environ["TALLY_SHAPE"]
    connection = await asyncpg.connect(os.environ["MILLPOND_POSTGRES_DSN"])
    await set_up(connection, name)
    session_ms = int(os.environ["STAGE_SESSION_MS"])
    topics = (drops_topic(name).name,) if shape == "grouped" else ()
    consumer = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=os.environ["MILLPOND_KAFKA_BOOTSTRAP_SERVERS"],
        group_id=name if shape == "grouped" else None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=session_ms,
        heartbeat_interval_ms=session_ms // 4,
    )
    await consumer.start()
    pause = Pause(Path(os.environ.get("STAGE_WAIT", "planned:/nonexistent").partition(":")[2]))
    await (grouped if shape == "grouped" else leading)(consumer, connection, pause)


if __name__ == "__main__":
    asyncio.run(main())
