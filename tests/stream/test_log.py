"""The log and the publisher in memory keep what those on Kafka keep."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Log, Publisher, SendFailed
from millpond.stream.memory.log import MemoryLog, MemoryPublisher
from stream.log_contract import LogContract, PublisherContract
from stream.worlds import KafkaWorld, MemoryWorld

NOBODY = {"bootstrap_servers": "127.0.0.1:1", "request_timeout_ms": 1_000}


class TestMemoryLog(LogContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()

    @pytest.fixture
    def away(self, request: pytest.FixtureRequest) -> Log:
        request.applymarker(pytest.mark.xfail(reason="memory is never away"))
        return MemoryLog()

    @pytest.fixture
    def write_aborted(self, request: pytest.FixtureRequest, world: MemoryWorld) -> Any:
        request.applymarker(pytest.mark.xfail(reason="memory has no transactional producers"))
        return None


class TestKafkaLog(LogContract):
    @pytest.fixture
    async def world(self, kafka_bootstrap: str) -> KafkaWorld:
        world = KafkaWorld(kafka_bootstrap)
        await world.make()
        return world

    @pytest.fixture
    def away(self) -> Log:
        return KafkaLog(NOBODY)

    @pytest.fixture
    def write_aborted(self, world: KafkaWorld) -> Any:
        return world.write_aborted


class TestMemoryPublisher(PublisherContract):
    @pytest.fixture
    def world(self) -> MemoryWorld:
        return MemoryWorld()

    @pytest.fixture
    def publisher(self, world: MemoryWorld) -> Publisher:
        return MemoryPublisher(world.log)


class TestKafkaPublisher(PublisherContract):
    @pytest.fixture
    async def world(self, kafka_bootstrap: str) -> KafkaWorld:
        world = KafkaWorld(kafka_bootstrap)
        await world.make()
        return world

    @pytest.fixture
    async def publisher(self, world: KafkaWorld) -> AsyncIterator[Publisher]:
        publisher = await KafkaPublisher.open({"bootstrap_servers": world.bootstrap})
        yield publisher
        await publisher.close()


async def test_without_a_broker_no_publisher_opens() -> None:
    with pytest.raises(SendFailed):
        await KafkaPublisher.open(NOBODY)
