"""Exact ranges of a Kafka topic, with aiokafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from millpond.stream.feed import LogAway
from millpond.stream.log import LogEndsBefore, RecordsExpired
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record

READ_POLL_MS = 500

# How aiokafka is asked: its keyword arguments for the connection (bootstrap servers, TLS, SASL).
Connection = Mapping[str, Any]


def record_from(raw: ConsumerRecord) -> Record:
    return Record(raw.topic, raw.partition, raw.offset, raw.key, raw.value, raw.headers, raw.timestamp)


class KafkaLog:
    """Reads exact ranges; see ``millpond.stream.log.Log``. ``read`` calls are independent of each other."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            **self._connection, enable_auto_commit=False, auto_offset_reset="none", isolation_level="read_committed"
        )
        try:
            await consumer.start()
            yield consumer
        except (KafkaError, OSError) as cause:
            raise LogAway(cause=repr(cause)) from cause
        finally:
            await consumer.stop()

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        existing = await self.partitions({place.topic for place in places})
        known = [place for place in places if place.partition < existing[place.topic]]
        extents = dict[Place, Extent]()
        # A consumer that is stopped before it was asked anything cancels its caller (aiokafka 0.14).
        if known:
            async with self._consumer() as consumer:
                extents = await consumer_extents(consumer, known)
        return {place: extents.get(place, Extent(0, 0)) for place in places}

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            await admin.start()
            described = await admin.describe_topics(list(topics))
        except (KafkaError, OSError) as cause:
            raise LogAway(cause=repr(cause)) from cause
        finally:
            await admin.close()
        return {topic["topic"]: len(topic["partitions"]) for topic in described}

    async def read(self, place: Place, start: int, stop: int) -> AsyncIterator[Record]:
        if start >= stop:
            return
        async with self._consumer() as consumer:
            extent = (await consumer_extents(consumer, [place]))[place]
            if start < extent.beginning:
                raise RecordsExpired(place=place, start=start, beginning=extent.beginning)
            if stop > extent.end:
                raise LogEndsBefore(place=place, stop=stop, end=extent.end)
            partition = TopicPartition(*place)
            consumer.assign([partition])
            consumer.seek(partition, start)
            # The position moves over control records, which are never delivered: it says when the range is done.
            while await consumer.position(partition) < stop:
                for raw in (await consumer.getmany(partition, timeout_ms=READ_POLL_MS)).get(partition, ()):
                    if raw.offset >= stop:
                        return
                    yield record_from(raw)


async def consumer_extents(consumer: AIOKafkaConsumer, places: Collection[Place]) -> dict[Place, Extent]:
    """What the log holds, asked through a consumer that is already connected. Raises aiokafka's errors."""
    if not places:
        return {}
    partitions = [TopicPartition(*place) for place in places]
    beginnings = await consumer.beginning_offsets(partitions)
    ends = await consumer.end_offsets(partitions)
    return {Place(p.topic, p.partition): Extent(beginnings[p], ends[p]) for p in partitions}
