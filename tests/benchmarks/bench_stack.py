"""What the stream's benchmarks share: topics, numbered inputs, a program under measurement, and a cheap look at the ends."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from benchmarks.mill import PARTITIONS, Grain, mill
from millpond.events.envelope import Envelope, encode
from millpond.events.topic import Topic
from millpond.events.topic_plan import topic_settings
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.localstack import LocalStack
from millpond.stream.outlet import partition_of
from millpond.stream.record import OUTBOX, OutboxNumber
from stream.topics_made import make_topics

LOOK_EVERY_S = 0.02
GIVE_UP_S = 120.0
SACKS = 200
NOTE = "x" * 200
LOGS = Path(__file__).parents[2] / ".local" / "bench-logs"


async def prepare(stack: LocalStack) -> tuple[str, str]:
    """A name of its own for one run, with its topics and its database: (name, dsn)."""
    name = f"mill_{uuid.uuid4().hex[:8]}"
    service = mill(name)
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka.bootstrap_servers)
    await admin.start()
    existing = await admin.list_topics()
    topics = [*service.reads, *service.writes, service.dead_letters, OPERATOR_COMMANDS]
    # The baseline writes to a topic like ours, and to no other's.
    topics.append(replace(service.writes[0], name=f"{name}.plain.v1"))
    new = [
        NewTopic(topic.name, topic.partitions, 1, topic_configs=topic_settings(topic, replication_factor=1))
        for topic in topics
        if topic.name not in existing
    ]
    await admin.create_topics(new)
    await admin.close()
    connection = await asyncpg.connect(stack.postgres.dsn())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    return name, stack.postgres.dsn(name)


async def made_anew(stack: LocalStack, topics: Sequence[Topic]) -> None:
    """A run's topics hold nothing of the run before: a new database would find itself behind."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka.bootstrap_servers)
    await admin.start()
    names = {topic.name for topic in topics}
    if there := names & set(await admin.list_topics()):
        await admin.delete_topics(sorted(there))
        while names & set(await admin.list_topics()):  # noqa: ASYNC110 - Kafka has no event for it
            await asyncio.sleep(0.05)
    await admin.close()
    await make_topics(stack.kafka.bootstrap_servers, topics)


class Farm:
    """Publishes numbered grains, as another service's relay would."""

    def __init__(self, servers: str, name: str) -> None:
        self._topic = f"{name}.grain.v1"
        self._producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True, max_batch_size=262_144)
        self._number = 0
        self._last = dict.fromkeys(range(PARTITIONS), 0)

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def send(self, time_ms: int) -> asyncio.Future[Any]:
        self._number += 1
        sack = f"sack-{self._number % SACKS}"
        partition = partition_of(sack.encode(), PARTITIONS)
        outbox = OutboxNumber("farm", self._number, self._last[partition])
        self._last[partition] = self._number
        envelope = Envelope(f"farm/{self._number}", "Grain", "/millpond/farm", "2026-01-01T00:00:00.000Z")
        return await self._producer.send(
            self._topic,
            Grain(sack=sack, grams=self._number, note=NOTE).to_bytes(),
            sack.encode(),
            partition,
            time_ms,
            [*encode(envelope), (OUTBOX, outbox.to_header())],
        )


@contextmanager
def program(
    module: str, name: str, dsn: str, stack: LocalStack, batch_records_max: int, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs ``python -m module`` for one run, and kills it afterwards. ``more``: what it needs in its environment besides."""
    LOGS.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "MILL_NAME": name,
        "MILLPOND_KAFKA_BOOTSTRAP_SERVERS": stack.kafka.bootstrap_servers,
        "MILLPOND_POSTGRES_DSN": dsn,
        "MILLPOND_POOL_ID": "bench",
        "MILLPOND_POOL_CHAIN_ID": "31337",
        "MILLPOND_HEALTH_PORT": "0",
        "MILLPOND_LOG_LEVEL": "WARNING",
        "MILLPOND_STREAM_BATCH_RECORDS_MAX": str(batch_records_max),
        **more,
    }
    with (LOGS / f"{name}.{module}.log").open("wb") as output:
        running = subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=output, stderr=output)
    try:
        yield running
    finally:
        running.kill()
        running.wait()


async def wait_for_end(
    consumer: AIOKafkaConsumer,
    topic: str,
    records: int,
    running: subprocess.Popen[bytes],
    partitions_count: int = PARTITIONS,
) -> tuple[int, float]:
    """How many records the topic holds once there are at least ``records``, and when that was seen (monotonic seconds).

    A look at the partitions' ends costs the broker next to nothing.
    """
    partitions = [TopicPartition(topic, n) for n in range(partitions_count)]
    give_up_s = time.monotonic() + GIVE_UP_S
    found = 0
    while time.monotonic() < give_up_s and running.poll() is None:
        found = sum((await consumer.end_offsets(partitions)).values())
        if found >= records:
            return found, time.monotonic()
        await asyncio.sleep(LOOK_EVERY_S)
    raise RuntimeError(f"{topic} has {found} of {records} records, exit code {running.poll()}; see .local/bench-logs")
