"""Timers: the tick is an input whose time never goes back, and stands in every event it caused."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from millpond.events.event import Event
from millpond.events.topic import Topic
from millpond.stream import leadership
from millpond.stream.database import WHOLE_SERVICE
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond.stream.log import Outbound
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.stream.service import Service
from stream.flaky import Broker
from stream.in_process import running as running_for_real
from stream.memory_service import DictStore, HandClock, Instance, running, until
from stream.tally import Drop, dead_letters_topic, drops_topic
from stream.topics_made import FIRST_STAMP_MS, Fall, create_topics, new_name, produce, read_all
from stream.workers import wait_until

DELAY_MS = 5_000


class Dried(Event):
    """A bucket in which nothing fell for a while."""

    bucket: str
    as_of_ms: int


def dried_topic(name: str) -> Topic:
    return Topic(f"{name}.dried.v1", "bucket", 4, owner=name, readers=(), poison="stop", events=(Dried,))


def drier(name: str, shape: str, store: Any = None, delay_ms: int = DELAY_MS) -> Service[Mapping[str, Any]]:
    """Each drop sets its bucket's timer anew; a drop of nothing takes it back."""
    dried = dried_topic(name)

    def decide(state: Mapping[str, Any], each: Input) -> Decision[Mapping[str, Any]]:
        match each:
            case Received(event=Drop(bucket=bucket, amount=0)):
                return Decision(state, timers=(Timer(bucket, None),))
            case Received(event=Drop(bucket=bucket)):
                return Decision(state, timers=(Timer(bucket, each.stamp_ms + delay_ms),))
            case Tick(timer=bucket):
                event = Dried(bucket=bucket, as_of_ms=each.as_of_ms)
                return Decision(state, (Outgoing(dried, bucket, event, each.as_of_ms),))
            case _:
                raise AssertionError(each)

    return Service(
        name=name,
        shape=shape,  # type: ignore[arg-type]
        reads=(drops_topic(name),),
        writes=(dried,),
        dead_letters=dead_letters_topic(name),
        decide=decide,
        store=store or DictStore(),
    )


class World:
    def __init__(self, shape: str, delay_ms: int = DELAY_MS) -> None:
        self.log, self.clock = MemoryLog(), HandClock(now_ms=FIRST_STAMP_MS)
        self.database = MemoryDatabase(lambda: self.clock.now_s)
        self.inputs = [Place(drops_topic("drier").name, n) for n in range(4)]
        self.service = drier("drier", shape, delay_ms=delay_ms)
        for place in (*self.inputs, *(Place(dried_topic("drier").name, n) for n in range(4))):
            self.log._records[place] = []

    def instance(self, *places: Place) -> Instance:
        feed = MemoryFeed(self.log, places or self.inputs)
        return Instance(self.service, self.log, self.database, self.clock, feed)

    def fall(self, bucket: str, amount: int = 1, *, item: str) -> Place:
        fall = Fall(item, Drop(bucket=bucket, amount=amount), self.clock.now_ms())
        place = Place(drops_topic("drier").name, partition_of(fall.key_bytes(), 4))
        self.log.append(place, Outbound(fall.key_bytes(), fall.drop.to_bytes(), tuple(fall.headers()), fall.stamp_ms))
        return place

    async def read(self) -> None:
        async def is_read() -> bool:
            positions = await self.database.positions(self.inputs)
            return all(positions[place].next_offset == self.log.extent(place).end for place in self.inputs)

        await until(is_read)

    def dried(self) -> list[Dried]:
        places = [Place(dried_topic("drier").name, n) for n in range(4)]
        records = [record for place in places for record in self.log.slice(place, 0, 1_000)]
        events = [Dried.model_validate_json(record.value or b"") for record in records]
        assert [record.timestamp_ms for record in records] == [event.as_of_ms for event in events]
        return events


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "STANDBY_LOOK_S", 0.001)


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_a_timer_goes_off_once_its_time_has_come(shape: str) -> None:
    world = World(shape)
    async with running(world.instance(), open_publisher=Broker(world.log).open):
        world.fall("a", item="1")
        world.fall("gone", item="2")
        world.fall("gone", 0, item="3")
        await world.read()
        due_ms = world.log.slice(world.fall("b", item="4"), 0, 99)[-1].timestamp_ms + DELAY_MS
        await until(lambda: len(world.dried()) == 2)
    assert {event.bucket for event in world.dried()} == {"a", "b"}
    assert next(event for event in world.dried() if event.bucket == "b").as_of_ms >= due_ms
    assert await world.database.timers_due(2**60) == []


async def test_a_tick_never_goes_back_whatever_the_clock_does() -> None:
    world = World("single_active")
    async with running(world.instance(), open_publisher=Broker(world.log).open):
        world.fall("a", item="1")
        await until(lambda: len(world.dried()) == 1)
        world.clock.set_back_s = 3_000.0
        async with world.database.transaction() as transaction:
            await transaction.set_timers(WHOLE_SERVICE, [Timer("b", 1)])
        await until(lambda: len(world.dried()) == 2)
    first, second = sorted(world.dried(), key=lambda event: event.bucket)
    assert second.as_of_ms >= first.as_of_ms


async def test_a_partitions_timers_go_off_only_where_it_is_owned() -> None:
    world = World("grouped", delay_ms=10**9)
    place = world.fall("a", item="1")
    others = [each for each in world.inputs if each != place]
    async with running(world.instance(place), open_publisher=Broker(world.log).open):
        await until(lambda: place in {scope for scope, _ in world.database._tables.timers})
    async with running(world.instance(*others), open_publisher=Broker(world.log).open):
        for _ in range(20):
            world.clock.now_s += 10**6
            await asyncio.sleep(0.002)
        assert world.dried() == []
        assert await world.database.timers_due(world.clock.now_ms()) == [place]
    async with running(world.instance(place), open_publisher=Broker(world.log).open):
        await until(lambda: len(world.dried()) == 1)


class NoState:
    """The timers are all there is to keep."""

    schema = ""

    async def load(self, connection: Any, keys: Any) -> Mapping[str, Any]:
        return {}

    async def save(self, connection: Any, before: Any, after: Any) -> None:
        return


async def test_timers_on_postgres(kafka_bootstrap: str, database: str) -> None:
    name = new_name("drier")
    service = drier(name, "grouped", NoState(), delay_ms=1)
    await create_topics(kafka_bootstrap, service)
    falls = [Fall(f"drop-{n}", Drop(bucket=f"b{n}", amount=n + 1), FIRST_STAMP_MS) for n in range(10)]
    await produce(kafka_bootstrap, name, falls)
    async with running_for_real(service, kafka_bootstrap, database):

        async def all_dried() -> bool:
            return len(await read_all(kafka_bootstrap, dried_topic(name))) >= 10

        await wait_until(all_dried, 60.0)
    records = await read_all(kafka_bootstrap, dried_topic(name))
    events = [Dried.model_validate_json(record.value or b"") for record in records]
    assert sorted(event.bucket for event in events) == sorted(f"b{n}" for n in range(10))
    assert [record.timestamp_ms for record in records] == [event.as_of_ms for event in events]
