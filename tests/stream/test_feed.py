"""The feed in memory keeps what the one on Kafka keeps; it has no groups."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from faststream.kafka import KafkaBroker

from millpond.events.topic import Topic, Written
from millpond.stream.feed import Feed, LogAway
from millpond.stream.kafka.feed import KafkaFeed
from millpond.stream.kafka.log import Connection
from millpond.stream.memory.log import MemoryFeed
from stream.feed_contract import FeedContract, Join
from stream.worlds import PARTITIONS, KafkaWorld, MemoryWorld

RECORDS_MAX = 500


def topic_of(world: KafkaWorld) -> Topic:
    return Topic(world.topic, "k", PARTITIONS, "rain", (), "stop", Written.BY_SOURCE)


def connection(world: KafkaWorld) -> Connection:
    return {"bootstrap_servers": world.bootstrap}


class TestMemoryFeed(FeedContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()

    @pytest.fixture
    def feed(self, world: MemoryWorld) -> Feed:
        return MemoryFeed(world.log, [world.here, world.there])

    @pytest.fixture
    def join(self, request: pytest.FixtureRequest, world: MemoryWorld) -> Join:
        request.applymarker(pytest.mark.xfail(reason="memory has no groups: nothing is rebalanced"))

        async def join() -> Feed:
            raise NotImplementedError

        return join


class TestKafkaFeed(FeedContract):
    @pytest.fixture
    async def world(self, kafka_bootstrap: str) -> KafkaWorld:
        world = KafkaWorld(kafka_bootstrap)
        await world.make()
        return world

    @pytest.fixture
    async def feed(self, world: KafkaWorld) -> AsyncIterator[Feed]:
        async with KafkaBroker(world.bootstrap, logger=None) as broker:
            feed = KafkaFeed(broker, connection(world), (topic_of(world),), None, RECORDS_MAX)
            await broker.start()
            yield feed
            await feed.close()

    @pytest.fixture
    async def join(self, world: KafkaWorld) -> AsyncIterator[Join]:
        group = uuid.uuid4().hex
        async with AsyncExitStack() as brokers:

            async def join() -> Feed:
                broker = await brokers.enter_async_context(KafkaBroker(world.bootstrap, logger=None))
                feed = KafkaFeed(broker, connection(world), (topic_of(world),), group, RECORDS_MAX)
                await broker.start()
                brokers.push_async_callback(feed.close)
                return feed

            yield join


async def test_a_feed_that_was_not_started_is_away(kafka_bootstrap: str) -> None:
    world = KafkaWorld(kafka_bootstrap)
    feed = KafkaFeed(
        KafkaBroker(world.bootstrap, logger=None), connection(world), (topic_of(world),), None, RECORDS_MAX
    )
    with pytest.raises(LogAway):
        await feed.poll(0.01)
