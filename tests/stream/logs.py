"""What befalls logs: records deleted, topics made again, control records of a transactional producer, changed limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from millpond.events.topic import Topic
from millpond.stream.record import Place
from stream.poisons import Raw
from stream.topics_made import make_topics

GONE_WITHIN_S = 30.0


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def forget_before(bootstrap: str, place: Place, offset: int) -> None:
    """The log begins at ``offset`` from now on, as after retention."""
    async with admin(bootstrap) as client:
        await client.delete_records({TopicPartition(*place): RecordsToDelete(before_offset=offset)})


async def make_again(bootstrap: str, topic: Topic) -> None:
    """Deletes the topic with all its records, and makes it anew."""
    async with admin(bootstrap) as client:
        await client.delete_topics([topic.name])
        async with asyncio.timeout(GONE_WITHIN_S):
            while topic.name in await client.list_topics():  # noqa: ASYNC110 - Kafka has no event for it
                await asyncio.sleep(0.05)
    await make_topics(bootstrap, (topic,))


async def set_on_topic(bootstrap: str, name: str, settings: Mapping[str, str]) -> None:
    """All settings of the topic from now on: those that aren't named are the broker's."""
    async with admin(bootstrap) as client:
        (response,) = await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, dict(settings))])
        assert [resource[0] for resource in response.resources] == [0]


async def put_in_transactions(bootstrap: str, topic: str, batches: Sequence[tuple[Sequence[Raw], bool]]) -> None:
    """Each batch in a transaction of its own, committed or aborted: each leaves a control record behind it."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"foreign-{topic}")
    await producer.start()
    try:
        for records, committed in batches:
            await producer.begin_transaction()
            for raw in records:
                await producer.send_and_wait(
                    topic,
                    raw.value,
                    raw.key,
                    raw.partition,
                    timestamp_ms=raw.timestamp_ms,
                    headers=list(raw.headers),  # type: ignore[arg-type]
                )
            await (producer.commit_transaction() if committed else producer.abort_transaction())
    finally:
        await producer.stop()
