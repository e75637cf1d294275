"""The others, on real topics: what they say with the headers that their writers give, and devices that answer assignments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from millpond.events.agent_claims import DeviceClaim, claim_item
from millpond.events.envelope import CE_TYPE, Envelope, encode
from millpond.events.event import Event
from millpond.events.gateway_jobs import JobCancelled, JobRequested, cancel_item, request_item
from millpond.events.scheduler_assignments import JobAssigned
from millpond.events.topic import Topic, Written
from millpond.events.topics import SCHEDULER_ASSIGNMENTS
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place, Record
from scheduler.play import key_of, topic_of
from scheduler.samples import started, succeeded


class Others:
    """All the services that the scheduler reads, as far as a log can tell. Stamps are the clock's."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        self._numbers: dict[str, int] = {}
        self._last: dict[Place, int] = {}

    async def __aenter__(self) -> Others:
        await self._producer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._producer.stop()

    async def say(self, *events: Event) -> None:
        """Returns once Kafka has them."""
        await asyncio.gather(*[await self.send(event) for event in events])

    async def send(self, event: Event) -> asyncio.Future[object]:
        topic, key, stamp_ms = topic_of(event), key_of(event).encode(), time.time_ns() // 1_000_000
        place = Place(topic.name, partition_of(key, topic.partitions))
        envelope = Envelope("others/1", event.type_name, "/millpond/others", ce_time(stamp_ms))
        headers = [*encode(envelope), self._identity(topic, place, event)]
        sending: asyncio.Future[object] = await self._producer.send(
            topic.name, event.to_bytes(), key, place.partition, stamp_ms, headers
        )
        return sending

    def _identity(self, topic: Topic, place: Place, event: Event) -> tuple[str, bytes]:
        if topic.written is Written.BY_SOURCE:
            return ITEM, _item(event).encode()
        number = self._numbers[topic.owner] = self._numbers.get(topic.owner, 0) + 1
        previous, self._last[place] = self._last.get(place, 0), number
        return OUTBOX, OutboxNumber(topic.owner, number, previous).to_header()


@dataclass
class Devices:
    """Answers each assignment once, as long as it is in the block; who is in ``dead`` takes jobs, and is never heard of."""

    others: Others
    bootstrap: str
    names: Mapping[str, str]
    dead: frozenset[str] = frozenset()
    answered: set[str] = field(default_factory=set)

    async def __aenter__(self) -> Devices:
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            SCHEDULER_ASSIGNMENTS.name, bootstrap_servers=self.bootstrap, auto_offset_reset="earliest"
        )
        await consumer.start()
        try:
            async for record in consumer:
                if dict(record.headers)[CE_TYPE] == b"JobAssigned":
                    await self._answer(JobAssigned.model_validate_json(record.value))
        finally:
            await consumer.stop()

    async def _answer(self, assigned: JobAssigned) -> None:
        name = self.names[assigned.gpu]
        if name not in self.dead and assigned.lease not in self.answered:
            self.answered.add(assigned.lease)
            await self.others.say(started(assigned, name))
            await self.others.say(succeeded(assigned, name))


def in_order(records: Sequence[Record]) -> list[Event]:
    """What the scheduler decided, in the order in which it did, each once."""
    numbered = {}
    for record in records:
        number = OutboxNumber.from_header(record.header(OUTBOX) or b"").number
        model = SCHEDULER_ASSIGNMENTS.event_types[(record.header(CE_TYPE) or b"").decode()]
        numbered[number] = model.model_validate_json(record.value or b"")
    return [numbered[number] for number in sorted(numbered)]


def _item(event: Event) -> str:
    match event:
        case JobRequested():
            return request_item(event)
        case JobCancelled():
            return cancel_item(event)
        case DeviceClaim():
            return claim_item(event.device, event.claim)
        case _:
            raise AssertionError(event)
