"""The baseline: plain aiokafka in, ``COPY``, plain aiokafka out, at least once, with nothing of Millpond's promises."""

from __future__ import annotations

import asyncio
import os

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def main() -> None:
    name, servers = os.environ["MILL_NAME"], os.environ["MILLPOND_KAFKA_BOOTSTRAP_SERVERS"]
    connection = await asyncpg.connect(os.environ["MILLPOND_POSTGRES_DSN"])
    await connection.execute("CREATE TABLE plain (topic text, part int, record_offset bigint, key bytea, value bytea)")
    consumer = AIOKafkaConsumer(
        f"{name}.grain.v1",
        bootstrap_servers=servers,
        group_id=f"{name}-plain",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, max_batch_size=262_144)
    await consumer.start()
    await producer.start()
    while True:
        batches = await consumer.getmany(
            timeout_ms=50, max_records=int(os.environ["MILLPOND_STREAM_BATCH_RECORDS_MAX"])
        )
        records = [record for batch in batches.values() for record in batch]
        if not records:
            continue
        await connection.copy_records_to_table(
            "plain", records=[(r.topic, r.partition, r.offset, r.key, r.value) for r in records]
        )
        sent = [
            await producer.send(f"{name}.plain.v1", r.value, r.key, r.partition, r.timestamp, list(r.headers))
            for r in records
        ]
        await asyncio.gather(*sent)
        await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())
