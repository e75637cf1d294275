"""Rules that raise, a database that is away, a broker that restarts, a broker that refuses: nothing is lost or overtaken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from millpond.events.topic import Written
from millpond.events.topic_plan import topic_settings
from millpond.localstack import LocalStack
from millpond.stream.decision import Decision, Input, Received
from millpond.stream.host import Host
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound, Publisher, SendFailed
from millpond.stream.record import OUTBOX, OutboxNumber, Place
from millpond.stream.service import Service
from stream.in_process import Instance, running
from stream.logs import set_on_topic
from stream.poisons import Raw, drop, put
from stream.state import buckets, buckets_are, positions, retries
from stream.tally import Drop, Level, drops_topic, levels_topic, tally
from stream.topics_made import applied_once, create_topics, levels, new_name, read_all
from stream.workers import wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0
# As long as the promise says: a database away so long costs no membership.
DATABASE_AWAY_S = 20.0


class Bug(Exception):
    """What a rule raises that has a bug."""


def with_bug(service: Service[Any], is_on: Callable[[Drop], bool]) -> Service[Any]:
    def decide(state: Any, received: Input) -> Decision[Any]:
        assert isinstance(received, Received)
        assert isinstance(received.event, Drop)
        if is_on(received.event):
            raise Bug(received.event.bucket)
        return service.decide(state, received)

    return replace(service, decide=decide)


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_where_rules_raise_the_partition_waits_with_the_prefix_applied_and_goes_on_once_they_are_mended(
    kafka_bootstrap: str, database: str, shape: str
) -> None:
    name, broken = new_name(), [True]
    service = with_bug(tally(name, shape), lambda event: broken[0] and event.amount == 1_000)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    bad = [drop("a0"), drop("a1"), drop("a2", amount=1_000), drop("a3"), drop("a4")]
    await put(kafka_bootstrap, topic, [*bad, *(drop(f"c{n}", 1, bucket="c") for n in range(5))])
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(buckets_are(database, name, {"b": (2, 2), "c": (5, 5)}), WITHIN_S)
        await wait_until(lambda: retries(instance, "RulesFailed") >= 3, WITHIN_S)
        await put(kafka_bootstrap, topic, [drop("c5", 1, bucket="c"), drop("d0", 2, bucket="d")])
        await wait_until(buckets_are(database, name, {"b": (2, 2), "c": (6, 6), "d": (1, 1)}), WITHIN_S)
        # The position is the first offset that was not applied; nothing is poison, nothing is stopped: it is tried again.
        assert (await positions(database, name, topic))[0] == 2
        assert instance.stops() == {}
        broken[0] = False
        await wait_until(buckets_are(database, name, {"b": (1_004, 5), "c": (6, 6), "d": (1, 1)}), WITHIN_S)
    told = levels(
        record for part in applied_once(await read_all(kafka_bootstrap, levels_topic(name))).values() for record in part
    )
    assert [level.total for level in told if level.bucket == "b"] == [1, 2, 1_002, 1_003, 1_004]


async def test_a_database_away_for_20_s_costs_no_membership_and_then_everything_is_applied_once(
    own_stack: Callable[..., LocalStack],
) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, name = stack.kafka.bootstrap_servers, new_name()
    service = tally(name)
    await create_topics(bootstrap, service)
    topic = service.reads[0].name
    rain = [drop(f"d{n}", n % 4) for n in range(400)]
    await put(bootstrap, topic, rain[:100])
    async with running(service, bootstrap, stack.postgres.dsn()) as instance:
        await wait_until(buckets_are(stack.postgres.dsn(), name, {"b": (100, 100)}), WITHIN_S)
        rebalances: list[str] = []
        forget = instance.host.feed._reassignment.forget
        instance.host.feed.on_reassignment(lambda: (rebalances.append("rebalanced"), forget())[1])
        mine = instance.host.feed.assigned()
        assert mine
        await asyncio.to_thread(stack.postgres.stop)
        await put(bootstrap, topic, rain[100:])
        await asyncio.sleep(DATABASE_AWAY_S)
        turned_at_s = instance.host.health._process.turned_at_s
        assert instance.host.clock.monotonic_s() - turned_at_s < 10, "the loop stands still while the database is away"
        await asyncio.to_thread(stack.postgres.start)
        await wait_until(buckets_are(stack.postgres.dsn(), name, {"b": (400, 400)}), WITHIN_S)
        assert rebalances == []
        assert instance.host.feed.assigned() == mine
        await wait_until(lambda: all_told(bootstrap, name, 400), WITHIN_S)


async def all_told(bootstrap: str, name: str, count: int) -> bool:
    parts = applied_once(await read_all(bootstrap, levels_topic(name)))
    return sorted(level.drops for part in parts.values() for level in levels(part)) == list(range(1, count + 1))


async def test_a_broker_that_restarts_in_the_middle_costs_nothing(own_stack: Callable[..., LocalStack]) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, name = stack.kafka.bootstrap_servers, new_name()
    service = tally(name, "single_active")
    await create_topics(bootstrap, service)
    topic = service.reads[0].name
    rain = [drop(f"d{n}", n % 4) for n in range(3_000)]
    await put(bootstrap, topic, rain[:2_000])
    async with running(service, bootstrap, stack.postgres.dsn(), batch_records_max=20) as instance:
        await wait_until(lambda: told_some(instance), WITHIN_S)
        await asyncio.to_thread(stack.kafka.kill)
        await asyncio.sleep(2)
        await asyncio.to_thread(stack.kafka.start)
        await put(bootstrap, topic, rain[2_000:])
        await wait_until(buckets_are(stack.postgres.dsn(), name, {"b": (3_000, 3_000)}), WITHIN_S)
        await wait_until(lambda: all_told(bootstrap, name, 3_000), WITHIN_S)
        assert instance.stops() == {}


def told_some(instance: Instance) -> bool:
    name = instance.host.service.name
    return (instance.metrics.value("millpond_stream_relay_published_total", topic=f"{name}.levels.v1") or 0) > 0


BIG = "b" * 3_000
# What the broker lets through meanwhile: small records, in small batches.
SMALL_BYTES_MAX = 2_500


@pytest.mark.parametrize("first", [True, False], ids=["as the first of a new producer", "later"])
async def test_a_record_that_the_broker_refuses_is_overtaken_by_none_and_goes_out_once_it_may(
    kafka_bootstrap: str, database: str, first: bool
) -> None:
    name = new_name()
    service = replace(tally(name), writes=(levels_topic(name, 1),))
    service = replace(service, decide=tally_of_one_partition(name))
    await create_topics(kafka_bootstrap, service)
    topic, out = service.reads[0].name, Place(f"{name}.levels.v1", 0)
    small = [drop(f"s{n}") for n in range(6)]
    big = drop("big", bucket=BIG)
    kept = topic_settings(levels_topic(name, 1), replication_factor=1)
    await set_on_topic(kafka_bootstrap, out.topic, {**kept, "max.message.bytes": str(SMALL_BYTES_MAX)})
    async with running(service, kafka_bootstrap, database, batch_records_max=1) as instance:
        if not first:
            await put(kafka_bootstrap, topic, small[:3])
            await wait_until(lambda: count_is(kafka_bootstrap, out.topic, 3), WITHIN_S)
        await put(kafka_bootstrap, topic, [big, *small[3:]])
        await wait_until(buckets_are(database, name, {"b": (3, 3) if first else (6, 6), BIG: (1, 1)}), WITHIN_S)
        await wait_until(lambda: (instance.metrics.value("millpond_stream_relay_restarts_total") or 0) >= 3, WITHIN_S)
        # The small ones behind it wait with it.
        assert len(await read_all(kafka_bootstrap, out.topic)) == (0 if first else 3)
        await set_on_topic(kafka_bootstrap, out.topic, kept)
        await wait_until(lambda: count_is(kafka_bootstrap, out.topic, 4 if first else 7), WITHIN_S)
    numbers = [number(record.header(OUTBOX)) for record in await read_all(kafka_bootstrap, out.topic)]
    assert numbers == sorted(set(numbers))


def number(header: bytes | None) -> int:
    assert header is not None
    return OutboxNumber.from_header(header).number


def tally_of_one_partition(name: str) -> Any:
    single = levels_topic(name, 1)
    original = tally(name).decide

    def decide(state: Any, received: Input) -> Decision[Any]:
        decision = original(state, received)
        return decision._replace(events=tuple(event._replace(topic=single) for event in decision.events))

    return decide


async def count_is(bootstrap: str, topic: str, count: int) -> bool:
    return len(await read_all(bootstrap, topic)) == count


@dataclass
class Refusals:
    """Which sends fail: by how many records were handed over before, over all publishers; and what was seen."""

    fail_at: set[int]
    handed_over: int = 0
    opened: int = 0


class RefusingPublisher:
    """A publisher whose acknowledgements fail at certain records: what was sent with them did not arrive."""

    def __init__(self, inner: Publisher, refusals: Refusals) -> None:
        self._inner, self._refusals = inner, refusals

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        refusals = self._refusals
        due = {n for n in refusals.fail_at if refusals.handed_over <= n < refusals.handed_over + len(records)}
        refusals.handed_over += len(records)
        if due:
            refusals.fail_at -= due

            async def refused() -> int:
                raise SendFailed(place=place, cause="refused by the test")

            return asyncio.ensure_future(refused())
        # The broker takes what comes behind a refused record of a new producer, as it would from any.
        return await self._inner.send(place, records)

    async def close(self) -> None:
        await self._inner.close()


@pytest.mark.parametrize("fail_at", [{0}, {1}, {3, 4, 5}, {0, 1, 2, 10, 40, 41}], ids=str)
async def test_whichever_send_fails_the_readers_see_each_event_once_and_in_order(
    kafka_bootstrap: str, database: str, fail_at: set[int]
) -> None:
    name, refusals = new_name(), Refusals(set(fail_at))
    service = tally(name)
    await create_topics(kafka_bootstrap, service)

    def adapt(host: Host[Any]) -> None:
        async def open_publisher() -> Publisher:
            refusals.opened += 1
            return RefusingPublisher(await KafkaPublisher.open(host.settings.kafka.client_options()), refusals)

        host._open_publisher = open_publisher  # type: ignore[method-assign]

    topic = service.reads[0].name
    rain = [drop(f"d{n}", n % 4, bucket=f"b{n % 4}") for n in range(120)]
    async with running(service, kafka_bootstrap, database, adapt=adapt, batch_records_max=10):
        for start in range(0, 120, 30):
            await put(kafka_bootstrap, topic, rain[start : start + 30])
        await wait_until(lambda: told_in_order(kafka_bootstrap, name), WITHIN_S)
    assert refusals.fail_at == set()
    assert refusals.opened > 1
    assert await buckets(database, name) == {f"b{n}": (30, 30) for n in range(4)}


async def told_in_order(bootstrap: str, name: str) -> bool:
    """Raises where a reader would find a gap."""
    told: list[Level] = []
    for part in applied_once(await read_all(bootstrap, levels_topic(name))).values():
        told += levels(part)
    by_bucket = {f"b{n}": [level.drops for level in told if level.bucket == f"b{n}"] for n in range(4)}
    return by_bucket == {f"b{n}": list(range(1, 31)) for n in range(4)}


async def test_a_hole_in_a_source_is_seen_by_its_reader(kafka_bootstrap: str, database: str) -> None:

    name = new_name()
    service = tally(name, reads=(drops_topic(name, written=Written.BY_PROCESS, items_kept=False),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    numbered: list[Raw] = [drop(f"d{n}", number=n) for n in range(1, 6)]
    # 2 twice, as a relay repeats itself; 4 is lost.
    await put(kafka_bootstrap, topic, [*numbered[:2], numbered[1], numbered[2], numbered[4]])
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: instance.stops() == {Place(topic, 0): "gap"}, WITHIN_S)
        stop = instance.host.health._reader.stops[Place(topic, 0)]
        assert stop.detail == "rain 5 follows 4; seen was 3."
        assert f"{topic}[0] is stopped: gap" in instance.why_not_ready()
    assert await buckets(database, name) == {"b": (3, 3)}
