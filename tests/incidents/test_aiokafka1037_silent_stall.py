"""Incident 52: after a broker's time-out the consumer lived on and received nothing, for all partitions or for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka import TopicPartition

from millpond.localstack import LocalStack
from millpond.stream.health import STALLED_S
from millpond.stream.host import Host
from millpond.stream.process import Clock
from millpond.stream.record import Place
from stream.in_process import Instance, running
from stream.poisons import drop, put
from stream.state import buckets
from stream.tally import tally
from stream.topics_made import create_topics, new_name
from stream.workers import Workers, wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0
# Longer than a group's session (10 s), so that the broker has given the member up.
SILENT_S = 12.0
# From SIGTERM with the broker frozen: stopping is bounded, whatever doesn't answer.
ENDS_WITHIN_S = 30.0

WhyNotLive = Callable[[], list[str]]


async def counts(dsn: str, name: str, wanted: int) -> None:
    async def are_counted() -> bool:
        return sum(drops for _, drops in (await buckets(dsn, name)).values()) == wanted

    await wait_until(are_counted, WITHIN_S)


async def check_one_silent_partition_is_named(
    bootstrap: str, dsn: str, shape: str, liveness: Callable[[Instance], WhyNotLive], within_s: float = 10.0
) -> None:
    """One partition's fetches are swallowed by the client; the others go on, and the loop turns."""
    name, later_s = new_name(), [0.0]
    service = tally(name, shape)
    await create_topics(bootstrap, service)
    topic = service.reads[0].name

    def moved_clock(host: Host[Any]) -> None:
        host.clock = Clock(host.clock.now_ms, lambda: time.monotonic() + later_s[0])
        host.health._monotonic_s = host.clock.monotonic_s

    async with running(service, bootstrap, dsn, adapt=moved_clock) as instance:
        await put(bootstrap, topic, [drop(f"d{n}", n % 4) for n in range(20)])
        await counts(dsn, name, 20)
        why_not_live = liveness(instance)
        assert why_not_live() == []
        instance.host.feed._consumer.pause(TopicPartition(topic, 2))
        await put(bootstrap, topic, [drop(f"m{n}", n % 4) for n in range(20)])
        await counts(dsn, name, 35)
        later_s[0] += STALLED_S + 1
        await wait_until(lambda: why_not_live() == [f"{Place(topic, 2)} makes no progress"], within_s)
        instance.host.feed._consumer.resume(TopicPartition(topic, 2))
        await counts(dsn, name, 40)
        await wait_until(lambda: why_not_live() == [], WITHIN_S)


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_a_partition_that_stands_still_while_there_is_more_fails_liveness_and_is_named(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    await check_one_silent_partition_is_named(
        kafka_bootstrap, database, shape, lambda instance: instance.host.health.why_not_live
    )


async def test_the_same_check_fails_for_a_probe_that_only_sees_the_loop_turn(
    kafka_bootstrap: str, database: str
) -> None:
    def loop_turns(instance: Instance) -> WhyNotLive:
        process, clock = instance.host.health._process, instance.host.clock
        assert process is not None
        return lambda: [] if clock.monotonic_s() - process.turned_at_s < 30 else ["the poll loop has not turned"]

    with pytest.raises(AssertionError, match="not within"):
        await check_one_silent_partition_is_named(kafka_bootstrap, database, "grouped", loop_turns, within_s=4.0)


async def test_after_a_broker_was_silent_everything_goes_on(own_stack: Callable[..., LocalStack]) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, dsn = stack.kafka.bootstrap_servers, stack.postgres.dsn()
    grouped, single = tally(new_name()), tally(new_name(), "single_active")
    for service in (grouped, single):
        await create_topics(bootstrap, service)
        await put(bootstrap, service.reads[0].name, [drop(f"d{n}", n % 4) for n in range(20)])
    async with running(grouped, bootstrap, dsn) as one, running(single, bootstrap, dsn) as other:
        for service in (grouped, single):
            await counts(dsn, service.name, 20)
        stack.kafka.freeze()
        try:
            await asyncio.sleep(SILENT_S)
        finally:
            stack.kafka.thaw()
        for service in (grouped, single):
            await put(bootstrap, service.reads[0].name, [drop(f"m{n}", n % 4) for n in range(20)])
        for service in (grouped, single):
            await counts(dsn, service.name, 40)
        assert one.stops() == other.stops() == {}


async def test_stopping_is_bounded_though_the_broker_never_answers(
    own_stack: Callable[..., LocalStack], run_directory: Any
) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, dsn, name = stack.kafka.bootstrap_servers, stack.postgres.dsn(), new_name()
    service = tally(name)
    await create_topics(bootstrap, service)
    workers = Workers(bootstrap, dsn, run_directory / "workers" / name)
    try:
        worker = workers.start(name)
        await put(bootstrap, service.reads[0].name, [drop(f"d{n}", n % 4) for n in range(20)])

        async def started() -> bool:
            try:
                return sum(drops for _, drops in (await buckets(dsn, name)).values()) == 20
            except Exception:
                return False

        await wait_until(started, WITHIN_S)
        stack.kafka.freeze()
        try:
            worker.ask_to_end()
            asked_at_s = time.monotonic()
            await wait_until(lambda: not worker.running, ENDS_WITHIN_S)
            print(f"ended after {time.monotonic() - asked_at_s:.1f} s")
        finally:
            stack.kafka.thaw()
    finally:
        workers.end()
