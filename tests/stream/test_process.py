"""A simulation: whatever fails, moves or comes twice, the outcome is that of an undisturbed run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millpond.events.topic import Topic, Written
from millpond.stream import backoff, leadership
from millpond.stream.decision import Decision, Input
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.outlet import partition_of
from millpond.stream.record import OUTBOX, OutboxNumber, Place
from millpond.stream.service import Service
from stream.flaky import Broker, Fault, FlakyDatabase
from stream.memory_service import LEASE_S, DictStore, HandClock, Instance, running, settled
from stream.tally import Level, drops_topic, levels_topic, tally
from stream.topics_made import Fall, applied_once, rain, with_repeats

NAME = "tally"
DROPS, LEVELS = drops_topic(NAME), levels_topic(NAME)
# The same drops as another service's decisions: numbered by its outbox, so nothing remembers items.
NUMBERED = drops_topic(NAME, written=Written.BY_PROCESS, items_kept=False)
INPUTS = [Place(DROPS.name, n) for n in range(DROPS.partitions)]
OUTPUTS = [Place(LEVELS.name, n) for n in range(LEVELS.partitions)]
COUNT = 120


class Trouble:
    """How often what goes wrong."""

    def __init__(self, seed: int, share: float) -> None:
        self.random = random.Random(seed)
        self.share = share

    def strikes(self) -> bool:
        return self.random.random() < self.share

    def fault(self, *_: object) -> Fault:
        return self.random.choice(("before", "after")) if self.strikes() else ""


def service_of(shape: str, topic: Topic, trouble: Trouble) -> Service[Mapping[str, Any]]:
    plain = tally(NAME, shape)

    def decide(state: Mapping[str, Any], each: Input) -> Decision[Mapping[str, Any]]:
        if trouble.strikes():
            raise ZeroDivisionError("a rule has failed")
        return plain.decide(state, each)  # type: ignore[return-value, arg-type]

    return tally(NAME, shape, decide=decide, store=DictStore(), reads=(topic,))


def observed(falls: list[Fall], seed: int) -> list[tuple[Place, Outbound]]:
    """A source's records: what was not acknowledged came again a little later."""
    return [(place_of(fall), outbound_of(fall)) for fall in with_repeats(falls, share=0.2, seed=seed)]


def decided(falls: list[Fall], seed: int) -> list[tuple[Place, Outbound]]:
    """Another service's records: now and then a relay started again some records back."""
    chance, records = random.Random(seed), list[tuple[Place, Outbound]]()
    last: dict[Place, int] = {}
    sent: dict[Place, list[Outbound]] = {}
    for number, fall in enumerate(falls, 1):
        place = place_of(fall)
        header = (OUTBOX, OutboxNumber("rain", number, last.get(place, 0)).to_header())
        last[place] = number
        outbound = outbound_of(fall, header)
        again = sent.setdefault(place, [])
        again.append(outbound)
        records.append((place, outbound))
        if chance.random() < 0.1:
            records += [(place, each) for each in again[-chance.randrange(1, 6) :]]
    return records


def place_of(fall: Fall) -> Place:
    return Place(DROPS.name, partition_of(fall.key_bytes(), DROPS.partitions))


def outbound_of(fall: Fall, *headers: tuple[str, bytes]) -> Outbound:
    return Outbound(fall.key_bytes(), fall.drop.to_bytes(), (*fall.headers(), *headers), fall.stamp_ms)


def undisturbed(falls: list[Fall]) -> tuple[dict[str, tuple[int, int]], dict[str, list[Level]]]:
    """By hand: each item once, in the order of its bucket's partition."""
    buckets: dict[str, tuple[int, int]] = {}
    levels: dict[str, list[Level]] = {}
    for fall in falls:
        bucket = fall.drop.bucket
        total, drops = buckets.get(bucket, (0, 0))
        buckets[bucket] = (total + fall.drop.amount, drops + 1)
        levels.setdefault(bucket, []).append(Level(bucket=bucket, total=buckets[bucket][0], drops=buckets[bucket][1]))
    return buckets, levels


async def disturb(trouble: Trouble, instances: list[Instance], clock: HandClock, database: FlakyDatabase) -> None:
    """Rebalances, fetches from elsewhere, and holders of leases that are silent for too long."""
    while True:
        await asyncio.sleep(0.001)
        if not trouble.strikes():
            continue
        instance = trouble.random.choice(instances)
        match trouble.random.randrange(4):
            case 0 if instance.service.shape == "grouped":
                # Each may believe that a place is his: one that was thought dead goes on for a while.
                instance.feed.reassign(trouble.random.sample(INPUTS, trouble.random.randrange(len(INPUTS) + 1)))
            case 1:
                place = trouble.random.choice(INPUTS)
                instance.feed.seek(place, trouble.random.randrange(instance.log.extent(place).end + 1))
            case 2:
                clock.now_s += LEASE_S * trouble.random.random() * 1.5
            case 3:
                instance.feed.reassign(INPUTS)


async def simulate(seed: int, shape: str, topic: Topic, share: float, instances_count: int, batch: int) -> None:
    trouble, clock, log = Trouble(seed, share), HandClock(), MemoryLog()
    falls = rain(COUNT, buckets=6, seed=seed)
    for place in (*INPUTS, *OUTPUTS):
        log._records[place] = []
    waiting = (observed if topic is DROPS else decided)(falls, seed)
    service = service_of(shape, topic, trouble)
    database = FlakyDatabase(lambda: clock.now_s, trouble.fault)
    feeds = [MemoryFeed(log, INPUTS, records_max=batch) for _ in range(instances_count)]
    instances = [Instance(service, log, database, clock, feed) for feed in feeds]
    broker = Broker(log)
    broker.fault = trouble.fault
    async with running(*instances, open_publisher=broker.open):
        disturbing = asyncio.create_task(disturb(trouble, instances, clock, database))
        for place, outbound in waiting:
            if trouble.random.random() < 0.1:
                log.append_control_record(place)
            log.append(place, outbound)
            if trouble.random.random() < 0.3:
                await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        disturbing.cancel()
        trouble.share = 0.0
        for instance in instances:
            instance.feed.reassign(INPUTS)
        await settled(database, log, INPUTS)
    buckets, levels = undisturbed(falls)
    assert database._tables.state == buckets
    published = applied_once([record for place in OUTPUTS for record in log.slice(place, 0, 1_000_000)])
    found: dict[str, list[Level]] = {}
    for record in (record for records in published.values() for record in records):
        level = Level.model_validate_json(record.value or b"")
        found.setdefault(level.bucket, []).append(level)
    assert found == levels


@pytest.fixture(scope="module", autouse=True)
def _at_once() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backoff, "FIRST_S", 0.0005)
        patch.setattr(leadership, "STANDBY_LOOK_S", 0.001)
        yield


EXAMPLES = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
simulations = given(
    seed=st.integers(0, 2**32),
    topic=st.sampled_from([DROPS, NUMBERED]),
    share=st.sampled_from([0.0, 0.02, 0.1]),
    instances_count=st.integers(1, 3),
    batch=st.sampled_from([1, 7, 500]),
)


@EXAMPLES
@simulations
def test_grouped_instances_that_fail_and_fight_over_places(**facts: Any) -> None:
    asyncio.run(simulate(shape="grouped", **facts))


@EXAMPLES
@simulations
def test_an_active_instance_and_standbys_that_take_over(**facts: Any) -> None:
    asyncio.run(simulate(shape="single_active", **facts))
