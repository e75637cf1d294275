"""Incident 51: a failed message was left unacknowledged, and the next good one's commit went past it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from millpond.stream.decision import Decision, Input, Received
from millpond.stream.service import Service
from stream.in_process import running
from stream.poisons import drop, put
from stream.state import buckets, positions
from stream.tally import Drop, drops_topic, tally
from stream.topics_made import create_topics, make_topics, new_name
from stream.workers import wait_until

RESULTS = 5
WITHIN_S = 120.0
# The double does within a second what it ever will do.
DOUBLE_WITHIN_S = 5.0


@dataclass
class Faults:
    """The second result fails so many times; the third is being worked on when the supervisor loses its patience."""

    failures_left: int = 0
    hangs_in_third: bool = False
    failed: int = 0
    hanging: asyncio.Event = field(default_factory=asyncio.Event)

    def work(self, amount: int) -> None:
        if amount == 2 and self.failures_left:
            self.failures_left -= 1
            self.failed += 1
            raise RuntimeError("the second result fails")

    async def look(self, amount: int) -> None:
        if amount == 3 and self.hangs_in_third:
            self.hanging.set()
            await asyncio.Event().wait()


Start = Callable[[Faults], AbstractAsyncContextManager[None]]
Count = Callable[[], Awaitable[int]]


async def check_failing_once(start: Start, count: Count, within_s: float) -> None:
    faults = Faults(failures_left=1)
    async with start(faults):
        await wait_until(lambda: faults.failed == 1, WITHIN_S)
        await wait_until(lambda: is_count(count, RESULTS), within_s)


async def check_failing_always_then_mended(start: Start, count: Count, within_s: float) -> None:
    faults = Faults(failures_left=1_000_000)
    async with start(faults):
        await wait_until(lambda: faults.failed >= 1, WITHIN_S)
        await wait_until(lambda: at_least(count, 1), WITHIN_S)
        await asyncio.sleep(0.5)
        assert await count() == 1, "went past the failure"
    async with start(Faults()):
        await wait_until(lambda: is_count(count, RESULTS), within_s)


async def check_cut_off_inside_the_third(start: Start, count: Count, within_s: float) -> None:
    faults = Faults(hangs_in_third=True)
    async with start(faults):
        await asyncio.wait_for(faults.hanging.wait(), WITHIN_S)
    async with start(Faults()):
        await wait_until(lambda: is_count(count, RESULTS), within_s)


async def is_count(count: Count, wanted: int) -> bool:
    return await count() == wanted


async def at_least(count: Count, wanted: int) -> bool:
    return await count() >= wanted


CHECKS = [check_failing_once, check_failing_always_then_mended, check_cut_off_inside_the_third]
Check = Callable[[Start, Count, float], Awaitable[None]]


def faulty(name: str, faults: Faults) -> Service[Any]:
    service = tally(name)

    def decide(state: Any, received: Input) -> Decision[Any]:
        assert isinstance(received, Received)
        assert isinstance(received.event, Drop)
        faults.work(received.event.amount)
        return service.decide(state, received)

    async def observe(received: Received) -> None:
        assert isinstance(received.event, Drop)
        await faults.look(received.event.amount)

    return replace(service, decide=decide, observe=observe)


async def five_results(bootstrap: str, name: str) -> str:
    topic = drops_topic(name).name
    await put(bootstrap, topic, [drop(f"r{n}", amount=n) for n in range(1, RESULTS + 1)])
    return topic


@pytest.mark.parametrize("check", CHECKS)
async def test_nothing_is_passed_that_was_not_applied(kafka_bootstrap: str, database: str, check: Check) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    topic = await five_results(kafka_bootstrap, name)

    @asynccontextmanager
    async def start(faults: Faults) -> AsyncIterator[None]:
        grace_s = 0.2 if faults.hangs_in_third else None
        # One record a transaction: what comes before the failure is applied, whatever was fetched with it.
        async with running(faulty(name, faults), kafka_bootstrap, database, grace_s=grace_s, batch_records_max=1):
            yield

    async def count() -> int:
        return (await buckets(database, name)).get("b", (0, 0))[1]

    await check(start, count, WITHIN_S)
    assert (await positions(database, name, topic))[0] == RESULTS


async def test_what_somebody_committed_for_the_group_is_never_read_back(kafka_bootstrap: str, database: str) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    topic = await five_results(kafka_bootstrap, name)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_bootstrap, group_id=name, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, 0)])
        await consumer.commit({TopicPartition(topic, 0): RESULTS})
    finally:
        await consumer.stop()
    async with running(tally(name), kafka_bootstrap, database):

        async def all_counted() -> bool:
            return await buckets(database, name) == {"b": (15, RESULTS)}

        await wait_until(all_counted, WITHIN_S)


class CommitsPastFailure:
    """The double: what failed stays unacknowledged, what comes next is committed; cancelled counts as rejected."""

    def __init__(self, bootstrap: str, name: str, topic: str) -> None:
        self._bootstrap, self._name, self._topic = bootstrap, name, topic
        self.applied: list[int] = []

    @asynccontextmanager
    async def start(self, faults: Faults) -> AsyncIterator[None]:
        working = asyncio.create_task(self._consume(faults))
        try:
            yield
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _consume(self, faults: Faults) -> None:
        consumer = AIOKafkaConsumer(
            self._topic,
            bootstrap_servers=self._bootstrap,
            group_id=f"{self._name}-double",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            async for record in consumer:
                amount = Drop.model_validate_json(record.value).amount
                try:
                    await faults.look(amount)
                    faults.work(amount)
                except RuntimeError:
                    continue
                except asyncio.CancelledError:
                    await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
                    raise
                self.applied.append(amount)
                await consumer.commit({TopicPartition(record.topic, record.partition): record.offset + 1})
        finally:
            await consumer.stop()

    async def count(self) -> int:
        return len(self.applied)


@pytest.mark.parametrize("check", CHECKS)
async def test_the_same_checks_fail_for_what_the_source_did(kafka_bootstrap: str, check: Check) -> None:
    name = new_name()
    await make_topics(kafka_bootstrap, (drops_topic(name),))
    topic = await five_results(kafka_bootstrap, name)
    double = CommitsPastFailure(kafka_bootstrap, name, topic)
    with pytest.raises(AssertionError, match=r"not within 5.0 s|went past the failure"):
        await check(double.start, double.count, DOUBLE_WITHIN_S)
