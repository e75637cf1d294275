"""Incident 55: with no stored offset the consumer jumped to the end or to the start, and said nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import NewPartitions

from millpond.stream.kafka.log import KafkaLog
from millpond.stream.record import Place
from millpond.stream.starting import TopicsDiffer
from stream.in_process import running
from stream.logs import admin, forget_before
from stream.poisons import drop, put
from stream.state import buckets
from stream.tally import Drop, drops_topic, tally
from stream.topics_made import create_topics, make_topics, new_name
from stream.workers import wait_until

WITHIN_S = 120.0
BEFORE, MEANWHILE = 20, 30

Run = Callable[[int], Awaitable[int]]


async def check_what_came_meanwhile_counts(bootstrap: str, topic: str, run: Run) -> None:
    """``run`` starts the program until it has counted so many, or does no more, and says how many it has in all."""
    await put(bootstrap, topic, [drop(f"d{n}", n % 2) for n in range(BEFORE)])
    assert await run(BEFORE) == BEFORE
    # Down for eight days: whatever the group had committed is forgotten by then, and here it never was.
    await put(bootstrap, topic, [drop(f"m{n}", n % 2) for n in range(MEANWHILE)])
    assert await run(BEFORE + MEANWHILE) == BEFORE + MEANWHILE


async def drops_of(dsn: str, name: str) -> int:
    return (await buckets(dsn, name)).get("b", (0, 0))[1]


async def test_a_service_that_was_down_starts_where_its_database_says(kafka_bootstrap: str, database: str) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))

    async def run(wanted: int) -> int:
        async def is_counted() -> bool:
            return await drops_of(database, name) >= wanted

        async with running(tally(name), kafka_bootstrap, database):
            await wait_until(is_counted, WITHIN_S)
        # Nobody's committed offset is involved, so none can expire.
        async with admin(kafka_bootstrap) as client:
            assert await client.list_consumer_group_offsets(name) == {}
        return await drops_of(database, name)

    await check_what_came_meanwhile_counts(kafka_bootstrap, drops_topic(name).name, run)


@pytest.mark.parametrize("reset", ["latest", "earliest"])
async def test_the_same_check_fails_for_what_the_source_did(kafka_bootstrap: str, reset: str) -> None:
    name = new_name("double")
    await make_topics(kafka_bootstrap, (drops_topic(name),))
    counted: list[int] = []

    async def run(wanted: int) -> int:
        """The double: a group whose offsets are gone at every start, and a reset that fills in for them."""
        consumer = AIOKafkaConsumer(
            drops_topic(name).name, bootstrap_servers=kafka_bootstrap, auto_offset_reset=reset, enable_auto_commit=False
        )
        await consumer.start()
        try:
            for records in (await consumer.getmany(timeout_ms=2_000)).values():
                counted.extend(Drop.model_validate_json(record.value).amount for record in records)
        finally:
            await consumer.stop()
        return len(counted)

    with pytest.raises(AssertionError):
        await check_what_came_meanwhile_counts(kafka_bootstrap, drops_topic(name).name, run)


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_unread_records_that_retention_removed_stop_the_partition_and_are_counted(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    name = new_name()
    service = tally(name, shape)
    await create_topics(kafka_bootstrap, service)
    place = Place(service.reads[0].name, 1)
    await put(kafka_bootstrap, place.topic, [drop(f"d{n}", 1) for n in range(10)])
    async with running(service, kafka_bootstrap, database):

        async def ten() -> bool:
            return await drops_of(database, name) == 10

        await wait_until(ten, WITHIN_S)
    await put(kafka_bootstrap, place.topic, [drop(f"m{n}", 1) for n in range(10)])
    await forget_before(kafka_bootstrap, place, 17)
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: instance.stops() == {place: "retention"}, WITHIN_S)
        reader = instance.host.health._reader
        assert reader is not None
        assert reader.stops[place].detail == "Our position is 10; the log holds 17 to 20."
    assert await drops_of(database, name) == 10


async def test_a_changed_count_of_partitions_is_refused_at_the_start(kafka_bootstrap: str, database: str) -> None:
    name = new_name()
    service = tally(name)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    async with admin(kafka_bootstrap) as client:
        await client.create_partitions({topic: NewPartitions(6)})
    # A broker tells of them a little after it has said yes.
    log = KafkaLog({"bootstrap_servers": kafka_bootstrap})

    async def is_told() -> bool:
        return await log.partitions([topic]) == {topic: 6}

    await wait_until(is_told, WITHIN_S)

    async def refused() -> bool:
        with pytest.raises(TopicsDiffer, match=f"{topic} has 6 partitions, not 4"):
            async with running(service, kafka_bootstrap, database):
                pass
        return True

    assert await refused()


async def test_a_partition_added_under_a_running_service_is_read_from_its_start(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service = tally(name)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    async with running(service, kafka_bootstrap, database):
        async with admin(kafka_bootstrap) as client:
            await client.create_partitions({topic: NewPartitions(6)})
        # Written before the service knows of the partition.
        await put(kafka_bootstrap, topic, [drop(f"d{n}", 5) for n in range(10)])

        async def ten() -> bool:
            return await drops_of(database, name) == 10

        await wait_until(ten, WITHIN_S)
