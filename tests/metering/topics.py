"""Stories on real topics, with the headers that their writers give: numbers of an outbox, items of a source."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer

from metering.samples import TOPIC_OF, Story, Topics
from millpond.events.agent_claims import DeviceClaim, claim_item
from millpond.events.envelope import Envelope, encode
from millpond.events.event import Event
from millpond.events.topic import Topic, Written
from millpond.stream.decision import Received
from millpond.stream.outlet import ce_time
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place


class Writers:
    """All the services that metering reads, as far as a log can tell."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True, linger_ms=2)
        self._numbers: dict[str, int] = {}
        self._last: dict[Place, int] = {}
        self._topics = Topics()
        # What a reader gets, as it stands there.
        self.written: list[Received] = []

    def ends(self, topic: str, partitions: int) -> tuple[int, ...]:
        """The next offset of each partition."""
        return tuple(self._topics.ends.get(Place(topic, n), 0) for n in range(partitions))

    async def __aenter__(self) -> Writers:
        await self._producer.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._producer.stop()

    async def put(self, key: str, event: Event, *, item: str | None = None) -> None:
        await (await self._send(key, event, item))

    async def put_all(self, written: Iterable[tuple[str, Event]]) -> None:
        await asyncio.gather(*[await self._send(key, event, None) for key, event in written])

    async def tell(self, *stories: Story) -> None:
        await self.put_all((each.job, event) for each in stories for event in each.events)

    async def _send(self, key: str, event: Event, item: str | None) -> asyncio.Future[object]:
        topic, received = TOPIC_OF[event.type_name], self._topics.put(event, key)
        self.written.append(received)
        place, ce_id = received.place, f"test/{received.place}/{received.offset}"
        headers = encode(Envelope(ce_id, event.type_name, "/millpond/test", ce_time(received.stamp_ms)))
        identity = self._identity(topic, place, event, item)
        sending: asyncio.Future[object] = await self._producer.send(
            topic.name, received.value, key.encode(), place.partition, received.stamp_ms, [*headers, identity]
        )
        return sending

    def _identity(self, topic: Topic, place: Place, event: Event, item: str | None) -> tuple[str, bytes]:
        if topic.written is Written.BY_SOURCE:
            if item is None:
                assert isinstance(event, DeviceClaim)
                item = claim_item(event.device, event.claim)
            return ITEM, item.encode()
        number = self._numbers[topic.owner] = self._numbers.get(topic.owner, 0) + 1
        previous, self._last[place] = self._last.get(place, 0), number
        return OUTBOX, OutboxNumber(topic.owner, number, previous).to_header()
