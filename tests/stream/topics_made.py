"""Topics of a service under test: made, filled with drops, and read to their ends."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from millpond.events.envelope import Envelope, encode
from millpond.events.topic import Topic
from millpond.events.topic_plan import topic_settings
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.position import judge_number
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place, Record
from millpond.stream.service import Service
from stream.tally import Drop, Level, drops_topic

TOPIC_ALREADY_EXISTS = 36
# 2026-01-01; what falls later has a later stamp, one millisecond each.
FIRST_STAMP_MS = 1_767_225_600_000


def new_name(what: str = "tally") -> str:
    """A service's name that no other test of the run has: topics outlive a test."""
    return f"{what}_{uuid.uuid4().hex[:8]}"


async def create_topics(bootstrap: str, service: Service[Any]) -> None:
    """What the service reads and writes, and the operator's commands, which all tests of a run share."""
    topics = {topic.name: topic for topic in (*service.reads, *service.writes, service.dead_letters, OPERATOR_COMMANDS)}
    await make_topics(bootstrap, tuple(topics.values()))


async def make_topics(bootstrap: str, topics: Sequence[Topic]) -> None:
    """Makes those that don't exist yet, with the settings that the product gives them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        new = [
            NewTopic(topic.name, topic.partitions, 1, topic_configs=topic_settings(topic, replication_factor=1))
            for topic in topics
        ]
        response = await admin.create_topics(new)
    finally:
        await admin.close()
    for name, code, message in response.topic_errors:
        assert code in (0, TOPIC_ALREADY_EXISTS), f"{name}: {message}"


@dataclass(frozen=True)
class Fall:
    """One record on a drops topic. ``key`` decides the partition; None: the bucket's."""

    item: str
    drop: Drop
    stamp_ms: int
    key: str | None = None
    partition: int | None = None

    def key_bytes(self) -> bytes:
        return (self.drop.bucket if self.key is None else self.key).encode()

    def headers(self) -> list[tuple[str, bytes]]:
        envelope = Envelope(f"rain/{self.item}", Drop.type_name, "/millpond/rain", ce_time(self.stamp_ms))
        return [*encode(envelope), (ITEM, self.item.encode())]


def rain(count: int, *, buckets: int = 20, seed: int = 1, first: int = 0, spread: bool = False) -> list[Fall]:
    """Falls with items ``first`` to ``first + count - 1``. ``spread``: keyed by item, so a bucket's fall on all partitions."""
    chance = random.Random(seed)
    return [
        Fall(
            item=f"drop-{number}",
            drop=Drop(bucket=f"bucket-{chance.randrange(buckets)}", amount=chance.randrange(1, 1_000)),
            stamp_ms=FIRST_STAMP_MS + number,
            key=f"drop-{number}" if spread else None,
        )
        for number in range(first, first + count)
    ]


def with_repeats(falls: Sequence[Fall], *, share: float, seed: int = 1) -> list[Fall]:
    """Some fall again a little later, with the same bytes: what a source sends again when an acknowledgement was lost."""
    chance = random.Random(seed)
    places = [(index, fall) for index, fall in enumerate(falls)]
    places += [(index + chance.randrange(1, 200), fall) for index, fall in enumerate(falls) if chance.random() < share]
    return [fall for _, fall in sorted(places, key=lambda placed: placed[0])]


async def produce(bootstrap: str, name: str, falls: Iterable[Fall], topic: Topic | None = None) -> None:
    """Writes them, in order per partition, and returns once all are acknowledged."""
    topic = topic or drops_topic(name)
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=2)
    await producer.start()
    try:
        sent = []
        for fall in falls:
            key = fall.key_bytes()
            partition = partition_of(key, topic.partitions) if fall.partition is None else fall.partition
            sent.append(
                await producer.send(
                    topic.name,
                    fall.drop.to_bytes(),
                    key,
                    partition,
                    timestamp_ms=fall.stamp_ms,
                    headers=fall.headers(),
                )
            )
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


async def read_all(bootstrap: str, topic: Topic | str) -> list[Record]:
    """Everything on the topic now, by partition and offset."""
    name = topic if isinstance(topic, str) else topic.name
    log = KafkaLog({"bootstrap_servers": bootstrap})
    count = (await log.partitions([name]))[name]
    extents = await log.extents([Place(name, partition) for partition in range(count)])
    records: list[Record] = []
    for place, extent in sorted(extents.items()):
        records += [record async for record in log.read(place, extent.beginning, extent.end)]
    return records


def applied_once(records: Iterable[Record]) -> dict[int, list[Record]]:
    """By partition what a reader applies: repeats of the relay dropped by their number. A gap is an error."""
    numbers: dict[int, dict[str, int]] = {}
    applied: dict[int, list[Record]] = {}
    for record in records:
        header = record.header(OUTBOX)
        assert header is not None, record
        outbox, seen = OutboxNumber.from_header(header), numbers.setdefault(record.partition, {})
        verdict = judge_number(seen, outbox)
        assert verdict != "gap", f"{record.place} offset {record.offset}: {outbox}, seen {seen}"
        if verdict == "apply":
            seen[outbox.source] = outbox.number
            applied.setdefault(record.partition, []).append(record)
    return applied


def levels(records: Iterable[Record]) -> list[Level]:
    return [Level.model_validate_json(record.value or b"") for record in records]
