"""The two worlds in which logs, feeds and publishers are held to one contract."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from millpond.stream.kafka.log import KafkaLog
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryLog
from millpond.stream.record import Place

PARTITIONS = 2


class MemoryWorld:
    def __init__(self) -> None:
        self.here, self.there = Place("here.rain.v1", 0), Place("here.rain.v1", 1)
        self.log = MemoryLog()

    async def write(self, place: Place, records: Sequence[Outbound]) -> None:
        for record in records:
            self.log.append(place, record)

    async def write_control_record(self, place: Place) -> None:
        self.log.append_control_record(place)

    async def expire(self, place: Place, beginning: int) -> None:
        self.log.expire(place, beginning)


class KafkaWorld:
    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = f"here_{uuid.uuid4().hex[:8]}.rain.v1"
        self.here, self.there = Place(self.topic, 0), Place(self.topic, 1)
        self.log = KafkaLog({"bootstrap_servers": bootstrap})

    async def make(self) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(self.topic, PARTITIONS, 1)])
        finally:
            await admin.close()

    async def write(self, place: Place, records: Sequence[Outbound]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=4_000_000)
        await producer.start()
        try:
            for record in records:
                await self._send(producer, place, record)
        finally:
            await producer.stop()

    async def write_control_record(self, place: Place) -> None:
        """A committed transaction: one record, and the marker of its end behind it."""
        await self._in_transaction(place, Outbound(b"k", b"0", (), 1), commit=True)

    async def write_aborted(self, place: Place, record: Outbound) -> None:
        await self._in_transaction(place, record, commit=False)

    async def expire(self, place: Place, beginning: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            await admin.delete_records({TopicPartition(*place): RecordsToDelete(before_offset=beginning)})
        finally:
            await admin.close()

    async def _in_transaction(self, place: Place, record: Outbound, *, commit: bool) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, transactional_id=uuid.uuid4().hex)
        await producer.start()
        try:
            await producer.begin_transaction()
            await self._send(producer, place, record)
            await (producer.commit_transaction() if commit else producer.abort_transaction())
        finally:
            await producer.stop()

    @staticmethod
    async def _send(producer: AIOKafkaProducer, place: Place, record: Outbound) -> None:
        await producer.send_and_wait(
            place.topic,
            record.value,
            record.key,
            place.partition,
            timestamp_ms=record.timestamp_ms,
            headers=list(record.headers),
        )
