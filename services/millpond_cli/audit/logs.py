"""Where an audit reads: Kafka through one connection that is kept, a bundle, or any log at hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from millpond.events.topics import TOPICS
from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import READ_POLL_MS, Connection, KafkaLog, consumer_extents, record_from
from millpond.stream.log import Log, LogEndsBefore, RecordsExpired
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record
from millpond_cli.audit.bundle import BundleLog

# Called in the process that reads, once: a connection can't be handed to another.
OpenLog = Callable[[], AbstractAsyncContextManager[Log]]
# What is asked for at a time: a partition is read from end to end.
FETCH_BYTES: Final = 16 * 1_048_576
# A range's end is followed by a question for what comes after it: until that is answered, no other range is fetched.
FETCH_WAIT_MS: Final = 5


@asynccontextmanager
async def at_hand(log: Log) -> AsyncIterator[Log]:
    yield log


@asynccontextmanager
async def of_bundle(directory: Path) -> AsyncIterator[Log]:
    yield BundleLog(directory)


@asynccontextmanager
async def of_kafka(connection: Connection) -> AsyncIterator[Log]:
    """Raises ``LogAway``."""
    consumer = AIOKafkaConsumer(
        **connection,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        log = OneConsumerLog(consumer, KafkaLog(connection))
        await log.partitions(TOPICS)
        yield log
    except (KafkaError, OSError) as cause:
        raise LogAway(cause=repr(cause)) from cause
    finally:
        await consumer.stop()


class OneConsumerLog:
    """Reads one range after the other through one consumer: some hundred ranges would else be as many connections.

    See ``millpond.stream.log.Log``. A range that is read within another one gets a connection of its own.
    """

    def __init__(self, consumer: AIOKafkaConsumer, apart: KafkaLog) -> None:
        self._consumer = consumer
        self._apart = apart
        self._partitions: dict[str, int] = {}
        self._busy = False

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        if unknown := [topic for topic in topics if topic not in self._partitions]:
            self._partitions |= await self._apart.partitions(unknown)
        return {topic: self._partitions[topic] for topic in topics}

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        existing = await self.partitions({place.topic for place in places})
        known = [place for place in places if place.partition < existing[place.topic]]
        extents = await consumer_extents(self._consumer, known)
        return {place: extents.get(place, Extent(0, 0)) for place in places}

    async def read(self, place: Place, start: int, stop: int) -> AsyncIterator[Record]:
        if start >= stop:
            return
        if self._busy:
            async for record in self._apart.read(place, start, stop):
                yield record
            return
        extent = (await self.extents([place]))[place]
        if start < extent.beginning:
            raise RecordsExpired(place=place, start=start, beginning=extent.beginning)
        if stop > extent.end:
            raise LogEndsBefore(place=place, stop=stop, end=extent.end)
        self._busy = True
        partition = TopicPartition(*place)
        try:
            self._assign_all(partition)
            self._consumer.seek(partition, start)
            self._consumer.resume(partition)
            # The position moves over control records, which are never delivered: it says when the range is done.
            while await self._consumer.position(partition) < stop:
                for raw in (await self._consumer.getmany(partition, timeout_ms=READ_POLL_MS)).get(partition, ()):
                    if raw.offset >= stop:
                        return
                    yield record_from(raw)
        finally:
            self._consumer.pause(partition)
            self._busy = False

    def _assign_all(self, partition: TopicPartition) -> None:
        """An assignment makes aiokafka ask for metadata anew, which takes longer than to read a short range: so they are
        all assigned together, and wait."""
        if partition in self._consumer.assignment():
            return
        everything = [TopicPartition(topic, n) for topic, count in self._partitions.items() for n in range(count)]
        self._consumer.assign(everything)
        self._consumer.pause(*everything)
