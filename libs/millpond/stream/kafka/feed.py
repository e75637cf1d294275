"""The feed on Kafka: FastStream's subscriber makes the consumer and owns its life, the process drives it.

FastStream's own consume loop is not used: it raises *before* the handler on bad JSON, null values or headers that are
not UTF-8 and swallows the batch, and it swallows what a handler raises (STREAM 1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka import TopicPartition as AssignedPartition

from millpond.events.topic import Topic
from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import Connection, consumer_extents, record_from
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record

# A member that waits for its database keeps its partitions: only a dead one loses them, by its session.
MAX_POLL_INTERVAL_MS = 3_600_000
SESSION_MS = 10_000
HEARTBEAT_MS = 2_000
# A question to the broker that is answered late when nothing comes; what comes is sent at once.
FETCH_WAIT_MS = 500
PARTITION_FETCH_BYTES = 4 * 1_048_576


class _Reassignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Only forgets: aiokafka swallows what a listener raises, and sends no heartbeat while it runs (STREAM 2)."""

    def __init__(self) -> None:
        self.forget: Callable[[], None] = lambda: None

    def on_partitions_revoked(self, revoked: Any) -> None:
        self.forget()

    def on_partitions_assigned(self, assigned: Any) -> None:
        self.forget()


class KafkaExtents:
    """Asks where logs begin and end, on a connection of its own: a broker answers one question of a connection after the
    other, and a fetch that waits for records is a question."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._consumer: AIOKafkaConsumer | None = None

    async def of(self, places: Collection[Place]) -> dict[Place, Extent]:
        """Raises ``LogAway``."""
        if not places:
            return {}
        try:
            if self._consumer is None:
                self._consumer = await self._started()
            return await consumer_extents(self._consumer, places)
        except (TimeoutError, KafkaError, OSError) as cause:
            raise LogAway(cause=repr(cause)) from cause

    async def close(self) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    async def _started(self) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(**self._connection, enable_auto_commit=False)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer


class KafkaFeed:
    """See ``millpond.stream.feed.Feed``. ``group``: share the partitions with the group's members; None: read them all.

    ``broker`` starts and stops the reading; ``connection`` is for questions beside it, and is to be closed.
    """

    def __init__(
        self, broker: KafkaBroker, connection: Connection, topics: Sequence[Topic], group: str | None, records_max: int
    ) -> None:
        self._extents = KafkaExtents(connection)
        self._records_max = records_max
        self._reassignment = _Reassignment()
        options: dict[str, Any] = {
            "batch": True,
            "ack_policy": AckPolicy.MANUAL,
            "auto_offset_reset": "earliest",
            "isolation_level": "read_committed",
            "fetch_max_wait_ms": FETCH_WAIT_MS,
            "max_partition_fetch_bytes": PARTITION_FETCH_BYTES,
        }
        if group is None:
            everything = [AssignedPartition(t.name, n) for t in topics for n in range(t.partitions)]
            self._subscriber = broker.subscriber(partitions=everything, **options)
        else:
            # Range, because joins need partition n of every topic on one member; the default assignor breaks that.
            self._subscriber = broker.subscriber(
                *(topic.name for topic in topics),
                group_id=group,
                listener=self._reassignment,
                partition_assignment_strategy=(RangePartitionAssignor,),
                max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
                session_timeout_ms=SESSION_MS,
                heartbeat_interval_ms=HEARTBEAT_MS,
                **options,
            )

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        consumer = self._subscriber.consumer
        if consumer is None:
            raise LogAway(cause="the consumer is not started")
        return consumer

    async def poll(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        try:
            batches = await self._consumer.getmany(timeout_ms=int(timeout_s * 1000), max_records=self._records_max)
        except (KafkaError, ConsumerStoppedError, OSError) as cause:
            raise LogAway(cause=repr(cause)) from cause
        return {Place(p.topic, p.partition): [record_from(raw) for raw in raws] for p, raws in batches.items()}

    def assigned(self) -> frozenset[Place]:
        # Only what exists: a topic that was deleted and comes back is another log, and has to be looked at anew.
        consumer, assigned = self._consumer, self._consumer.assignment()
        existing = {topic: consumer.partitions_for_topic(topic) or () for topic in {p.topic for p in assigned}}
        return frozenset(Place(p.topic, p.partition) for p in assigned if p.partition in existing[p.topic])

    def on_reassignment(self, forget: Callable[[], None]) -> None:
        self._reassignment.forget = forget

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        return await self._extents.of(places)

    async def close(self) -> None:
        await self._extents.close()

    async def fetched_up_to(self, place: Place) -> int:
        try:
            return int(await self._consumer.position(TopicPartition(*place)))
        except (KafkaError, OSError) as cause:
            raise LogAway(cause=repr(cause)) from cause

    def seek(self, place: Place, offset: int) -> None:
        self._quietly(place, lambda partition: self._consumer.seek(partition, offset))

    def pause(self, place: Place) -> None:
        self._quietly(place, self._consumer.pause)

    def resume(self, place: Place) -> None:
        self._quietly(place, self._consumer.resume)

    def _quietly(self, place: Place, act: Callable[[TopicPartition], object]) -> None:
        try:
            act(TopicPartition(*place))
        except IllegalStateError:
            # Taken from us meanwhile: its new owner goes on from the stored position.
            return
