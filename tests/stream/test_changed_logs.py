"""A log that doesn't go on from our position: the partition stops and says how, or steps over what holds no data."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from millpond.stream.record import Place
from millpond.stream.service import Service
from stream.in_process import Instance, running
from stream.logs import forget_before, make_again, put_in_transactions
from stream.poisons import Raw, drop, put
from stream.state import applied, buckets, buckets_are, letters_told, positions
from stream.tally import drops_topic, tally
from stream.topics_made import create_topics, new_name
from stream.workers import wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0


def drops(first: int, count: int, *, bucket: str = "b") -> list[Raw]:
    return [drop(f"{bucket}{n}", amount=1, bucket=bucket) for n in range(first, first + count)]


async def made(bootstrap: str, shape: str = "grouped", **topic: Any) -> tuple[Service[Any], Place]:
    name = new_name()
    service = tally(name, shape, reads=(drops_topic(name, partitions=2, **topic),))
    await create_topics(bootstrap, service)
    return service, Place(service.reads[0].name, 0)


def is_stopped(instance: Instance, place: Place, reason: str) -> bool:
    return (
        instance.stops() == {place: reason}
        and f"{place} is stopped: {reason}" in instance.why_not_ready()
        and instance.stopped_metric(place, reason) == 1
    )


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_a_log_that_now_begins_after_our_position_stops_the_partition_and_the_others_go_on(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    service, place = await made(kafka_bootstrap, shape)
    await put(kafka_bootstrap, place.topic, drops(0, 5))
    async with running(service, kafka_bootstrap, database):
        await wait_until(buckets_are(database, service.name, {"b": (5, 5)}), WITHIN_S)
    await put(kafka_bootstrap, place.topic, drops(5, 5))
    await forget_before(kafka_bootstrap, place, 8)
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: is_stopped(instance, place, "retention"), WITHIN_S)
        stop = instance.host.health._reader.stops[place]
        # What is missing can be counted from it.
        assert stop.detail == "Our position is 5; the log holds 8 to 10."
        await put(kafka_bootstrap, place.topic, [drop("other", 1, bucket="other")])
        await wait_until(buckets_are(database, service.name, {"b": (5, 5), "other": (1, 1)}), WITHIN_S)
        assert is_stopped(instance, place, "retention")
    assert await positions(database, service.name, place.topic) == {0: 5, 1: 1}


async def test_a_first_start_takes_the_beginning_of_a_topic_that_expires_and_of_no_other(
    kafka_bootstrap: str, database: str
) -> None:
    for expires in (True, False):
        service, place = await made(kafka_bootstrap, **({"retention": timedelta(days=90)} if expires else {}))
        # Written today: they must not expire by their stamp while the test looks.
        await put(kafka_bootstrap, place.topic, drops(0, 6))
        await forget_before(kafka_bootstrap, place, 4)
        async with running(service, kafka_bootstrap, database) as instance:
            if expires:
                await wait_until(buckets_are(database, service.name, {"b": (2, 2)}), WITHIN_S)
                assert instance.stops() == {}
            else:
                await wait_until(lambda here=instance, at=place: is_stopped(here, at, "retention"), WITHIN_S)
                assert await buckets(database, service.name) == {}


async def test_a_topic_that_expires_is_not_exempt_once_it_was_read(kafka_bootstrap: str, database: str) -> None:
    service, place = await made(kafka_bootstrap, retention=timedelta(days=90))
    await put(kafka_bootstrap, place.topic, drops(0, 5))
    async with running(service, kafka_bootstrap, database):
        await wait_until(buckets_are(database, service.name, {"b": (5, 5)}), WITHIN_S)
    await put(kafka_bootstrap, place.topic, drops(5, 5))
    await forget_before(kafka_bootstrap, place, 8)
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: is_stopped(instance, place, "retention"), WITHIN_S)
        assert await buckets(database, service.name) == {"b": (5, 5)}


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
@pytest.mark.parametrize("alive", [True, False], ids=["while it runs", "while it is down"])
async def test_a_log_that_ends_before_our_position_has_lost_its_tail(
    kafka_bootstrap: str, database: str, shape: str, alive: bool
) -> None:
    service, place = await made(kafka_bootstrap, shape)
    topic = service.reads[0]
    await put(kafka_bootstrap, place.topic, drops(0, 5))
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(buckets_are(database, service.name, {"b": (5, 5)}), WITHIN_S)
        if alive:
            await make_again(kafka_bootstrap, topic)
            await put(kafka_bootstrap, place.topic, drops(0, 3))
            await wait_until(lambda: is_stopped(instance, place, "lost_tail"), WITHIN_S)
    if not alive:
        await make_again(kafka_bootstrap, topic)
        await put(kafka_bootstrap, place.topic, drops(0, 3))
        async with running(service, kafka_bootstrap, database) as instance:
            await wait_until(lambda: is_stopped(instance, place, "lost_tail"), WITHIN_S)
    assert await buckets(database, service.name) == {"b": (5, 5)}


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
@pytest.mark.parametrize("count", [5, 9])
async def test_a_topic_made_again_with_other_content_is_not_taken_for_the_one_that_was_read(
    kafka_bootstrap: str, database: str, shape: str, count: int
) -> None:
    service, place = await made(kafka_bootstrap, shape)
    await put(kafka_bootstrap, place.topic, drops(0, 5))
    async with running(service, kafka_bootstrap, database):
        await wait_until(buckets_are(database, service.name, {"b": (5, 5)}), WITHIN_S)
    await make_again(kafka_bootstrap, service.reads[0])
    await put(kafka_bootstrap, place.topic, drops(0, count, bucket="other"))
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: is_stopped(instance, place, "made_again"), WITHIN_S)
    assert await buckets(database, service.name) == {"b": (5, 5)}


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_a_topic_made_again_under_a_running_reader_is_noticed_too(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    service, place = await made(kafka_bootstrap, shape)
    await put(kafka_bootstrap, place.topic, drops(0, 5))
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(buckets_are(database, service.name, {"b": (5, 5)}), WITHIN_S)
        await make_again(kafka_bootstrap, service.reads[0])
        await put(kafka_bootstrap, place.topic, drops(0, 9, bucket="other"))
        await wait_until(lambda: is_stopped(instance, place, "made_again"), WITHIN_S)
    assert await buckets(database, service.name) == {"b": (5, 5)}


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_control_records_are_stepped_over_at_the_start_between_and_at_the_very_end(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    service, place = await made(kafka_bootstrap, shape)
    # Offsets: 0-1 aborted and 2 its marker; 3-4 and a marker; 6-7 aborted and a marker; 9 and a marker.
    batches = [
        (drops(0, 2, bucket="aborted"), False),
        (drops(0, 2), True),
        (drops(2, 2, bucket="aborted"), False),
        (drops(2, 1), True),
    ]
    await put_in_transactions(kafka_bootstrap, place.topic, batches)
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(buckets_are(database, service.name, {"b": (3, 3)}), WITHIN_S)
        assert instance.stops() == {}
    # A start whose position has only a control record before it, and only control records behind it.
    await put_in_transactions(kafka_bootstrap, place.topic, [(drops(4, 2, bucket="aborted"), False)])
    async with running(service, kafka_bootstrap, database) as instance:
        await instance.has_positions()
        await put(kafka_bootstrap, place.topic, drops(10, 1))
        await wait_until(buckets_are(database, service.name, {"b": (4, 4)}), WITHIN_S)
        assert instance.stops() == {}
        assert applied(instance, place.topic) == 1
    assert await letters_told(kafka_bootstrap, service.name) == []
