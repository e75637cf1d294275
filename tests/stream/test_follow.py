"""A read model of one's own: everything once and in order, or an end that says why."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from millpond.events.envelope import Envelope, encode
from millpond.events.topic import Topic, Written
from millpond.stream.cursor import Cursor
from millpond.stream.decision import Received
from millpond.stream.follow import Follow, FollowEnded, FollowState, FollowStopped, NotFollowed
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.record import FILLER, OUTBOX, OutboxNumber, Place
from millpond.telemetry.metrics import Metrics
from stream.tally import Level, levels_topic

LEVELS = levels_topic("tally")
PLACES = [Place(LEVELS.name, partition) for partition in range(LEVELS.partitions)]
HOME = PLACES[0]


class Model:
    """The latest level per bucket, and every record's place as it was applied; saved together with the positions."""

    def __init__(self) -> None:
        self.seen: list[tuple[Place, int]] = []
        self.levels: dict[str, int] = {}
        self.saved: tuple[FollowState, list[tuple[Place, int]], dict[str, int]] = ({}, [], {})
        self.fails_at: int | None = None

    def apply(self, received: Received) -> None:
        if received.offset == self.fails_at:
            raise ZeroDivisionError
        assert isinstance(received.event, Level)
        self.seen.append((received.place, received.offset))
        self.levels[received.event.bucket] = received.event.total

    async def load(self) -> FollowState:
        state, self.seen, self.levels = copy.deepcopy(self.saved)
        return state

    async def save(self, state: FollowState) -> None:
        self.saved = copy.deepcopy((state, self.seen, self.levels))


class Writer:
    """A tally's relay: numbers its levels."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.number = 0
        self.last: dict[Place, int] = {}

    def level(self, place: Place = HOME, *, total: int = 1, value: bytes | None = None) -> Outbound:
        self.number += 1
        outbox = OutboxNumber("tally", self.number, self.last.get(place, 0))
        self.last[place] = self.number
        envelope = Envelope(f"tally/{self.number}", Level.type_name, "/millpond/tally", "2026-01-01T00:00:00Z")
        event = Level(bucket=f"b{place.partition}", total=total, drops=total)
        headers = (*encode(envelope), (OUTBOX, outbox.to_header()))
        return Outbound(b"b", event.to_bytes() if value is None else value, headers, 1)

    def write(self, place: Place = HOME, **changes: Any) -> int:
        return self.log.append(place, self.level(place, **changes))


@pytest.fixture
def log() -> MemoryLog:
    log = MemoryLog()
    for place in PLACES:
        log._records[place] = []
    return log


@pytest.fixture
def writer(log: MemoryLog) -> Writer:
    return Writer(log)


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(service="portal")


def made(log: MemoryLog, model: Model, metrics: Metrics, topic: Topic = LEVELS, **options: Any) -> Follow:
    feed = MemoryFeed(log, PLACES, records_max=3)
    return Follow((topic,), feed, model.apply, metrics, **{"store": model, **options})


@asynccontextmanager
async def followed(follow: Follow) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    running = asyncio.create_task(follow.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(running, 10)


async def ends(follow: Follow) -> FollowStopped:
    with pytest.raises(FollowStopped) as stopped:
        await asyncio.wait_for(follow.run(asyncio.Event()), 10)
    return stopped.value


async def test_everything_is_applied_once_and_in_order(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    for total in range(20):
        writer.write(PLACES[total % 4], total=total)
    follow = made(log, model, metrics)
    async with followed(follow):
        await follow.wait_for(Cursor(dict.fromkeys(PLACES, 5)))
    assert sorted(model.seen) == [(place, offset) for place in PLACES for offset in range(5)]
    assert [seen for seen in model.seen if seen[0] == HOME] == [(HOME, offset) for offset in range(5)]
    assert follow.cursor == Cursor(dict.fromkeys(PLACES, 5))


async def test_it_resumes_where_its_model_is(log: MemoryLog, writer: Writer, model: Model, metrics: Metrics) -> None:
    for _ in range(7):
        writer.write()
    first = made(log, model, metrics)
    async with followed(first):
        await first.wait_for(Cursor({HOME: 7}))
    writer.write(total=99)
    second = made(log, model, metrics)
    async with followed(second):
        await second.wait_for(Cursor({HOME: 8}))
    assert model.seen == [(HOME, offset) for offset in range(8)]
    assert model.levels == {"b0": 99}


async def test_without_a_store_it_begins_at_the_beginning(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    writer.write()
    for _ in range(2):
        follow = made(log, model, metrics, store=None)
        async with followed(follow):
            await follow.wait_for(Cursor({HOME: 1}))
    assert model.seen == [(HOME, 0), (HOME, 0)]


async def test_a_relays_repeats_and_fillers_are_passed(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    first, second = writer.level(), writer.level()
    for outbound in (first, second, first, second):
        log.append(HOME, outbound)
    log.append(HOME, Outbound(None, None, ((FILLER, b""),), 1))
    writer.write()
    follow = made(log, model, metrics)
    async with followed(follow):
        await follow.wait_for(Cursor({HOME: 6}))
    assert model.seen == [(HOME, 0), (HOME, 1), (HOME, 5)]
    assert metrics.value("millpond_stream_repeats_total", topic=LEVELS.name) == 3


async def test_poison_on_a_topic_that_sets_aside_is_counted_and_passed(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    topic = levels_topic("tally")
    object.__setattr__(topic, "poison", "aside")
    writer.write(value=b"{")
    writer.write()
    follow = made(log, model, metrics, topic)
    async with followed(follow):
        await follow.wait_for(Cursor({HOME: 2}))
    assert model.seen == [(HOME, 1)]
    assert metrics.value("millpond_stream_dead_letters_total", topic=LEVELS.name, reason="not_json") == 1


async def test_poison_on_a_topic_that_stops_ends_the_model_before_it(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    writer.write()
    writer.write(value=b"{")
    writer.write()
    follow = made(log, model, metrics)
    stopped = await ends(follow)
    assert (stopped.place, stopped.reason) == (HOME, "poison")
    assert "offset 1 " in str(stopped)
    assert model.saved[1] == [(HOME, 0)]
    assert follow.cursor == Cursor({HOME: 1})


async def test_a_hole_in_a_sources_numbers_ends_the_model(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    writer.write()
    writer.level()  # never arrives
    writer.write()
    assert (await ends(made(log, model, metrics))).reason == "gap"
    assert model.seen == [(HOME, 0)]


async def filled(log: MemoryLog, writer: Writer, model: Model, metrics: Metrics, topic: Topic = LEVELS) -> None:
    for _ in range(4):
        writer.write()
    follow = made(log, model, metrics, topic)
    async with followed(follow):
        await follow.wait_for(Cursor({HOME: 4}))


async def test_a_lost_tail_ends_the_model(log: MemoryLog, writer: Writer, model: Model, metrics: Metrics) -> None:
    await filled(log, writer, model, metrics)
    log.truncate(HOME, 2)
    assert (await ends(made(log, model, metrics))).reason == "lost_tail"


async def test_records_that_expired_unread_end_the_model(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    await filled(log, writer, model, metrics)
    for _ in range(3):
        writer.write()
    log.expire(HOME, 6)
    assert (await ends(made(log, model, metrics))).reason == "retention"


async def test_a_topic_made_again_ends_the_model(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    await filled(log, writer, model, metrics)
    log.truncate(HOME, 0)
    other = Writer(log)
    for total in range(6):
        other.write(total=100 + total)
    assert (await ends(made(log, model, metrics))).reason == "made_again"


async def test_a_first_start_takes_what_a_forgetting_topic_still_has(
    log: MemoryLog, model: Model, metrics: Metrics
) -> None:
    topic = Topic(
        "agent.beats.v1",
        "bucket",
        1,
        "edge",
        ("portal",),
        "aside",
        Written.BY_SOURCE,
        timedelta(days=1),
        events=(Level,),
    )
    place = Place(topic.name, 0)
    level = Writer(log).level()
    for _ in range(5):
        log.append(place, level)
    log.expire(place, 3)
    follow = Follow((topic,), MemoryFeed(log, [place]), model.apply, metrics)
    async with followed(follow):
        await follow.wait_for(Cursor({place: 5}))
    assert model.seen == [(place, 3), (place, 4)]


async def test_what_apply_raises_ends_the_model_and_is_not_saved(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    for _ in range(9):
        writer.write()
    model.fails_at = 4  # in the second batch of three
    follow = made(log, model, metrics)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(follow.run(asyncio.Event()), 10)
    assert model.saved[1] == [(HOME, 0), (HOME, 1), (HOME, 2)]
    model.fails_at = None
    again = made(log, model, metrics)
    async with followed(again):
        await again.wait_for(Cursor({HOME: 9}))
    assert model.seen == [(HOME, offset) for offset in range(9)]


async def test_apply_may_be_a_coroutine(log: MemoryLog, writer: Writer, model: Model, metrics: Metrics) -> None:
    async def apply(received: Received) -> None:
        await asyncio.sleep(0)
        model.apply(received)

    writer.write()
    follow = Follow((LEVELS,), MemoryFeed(log, PLACES), apply, metrics)
    async with followed(follow):
        await follow.wait_for(Cursor({HOME: 1}))
    assert model.seen == [(HOME, 0)]


async def test_waiting_lasts_until_the_model_is_there(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    writer.write()
    follow = made(log, model, metrics)
    async with followed(follow):
        await follow.wait_for(Cursor({HOME: 1}))
        await follow.wait_for(Cursor({}))
        waiting = asyncio.create_task(follow.wait_for(Cursor({HOME: 2, PLACES[1]: 1})))
        gone = asyncio.create_task(follow.wait_for(Cursor({HOME: 3})))
        writer.write(PLACES[1])
        await follow.wait_for(Cursor({PLACES[1]: 1}))
        assert not waiting.done()
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        assert len(follow._waiting) == 1
        writer.write()
        await asyncio.wait_for(waiting, 10)
    assert model.saved[0][HOME].next_offset == 2


async def test_waiting_for_a_topic_that_is_not_followed_is_refused(
    log: MemoryLog, model: Model, metrics: Metrics
) -> None:
    with pytest.raises(NotFollowed, match="in vain"):
        await made(log, model, metrics).wait_for(Cursor({Place("other.topic.v1", 0): 1}))


async def test_nobody_waits_for_a_model_that_has_ended(
    log: MemoryLog, writer: Writer, model: Model, metrics: Metrics
) -> None:
    writer.write(value=b"{")
    follow = made(log, model, metrics)
    waiting = asyncio.create_task(follow.wait_for(Cursor({HOME: 5})))
    await ends(follow)
    with pytest.raises(FollowEnded, match="poison"):
        await asyncio.wait_for(waiting, 10)
    with pytest.raises(FollowEnded):
        await follow.wait_for(Cursor({HOME: 5}))
