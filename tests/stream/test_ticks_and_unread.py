"""A tick of a single-active service comes when all that stood on its inputs at that time has been decided."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from millpond.events.envelope import CE_TYPE
from millpond.stream import leadership
from millpond.stream.decision import Decision, Input, Received, Tick, Timer
from millpond.stream.log import Outbound
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.record import ITEM, Place
from millpond.stream.service import Service
from stream.flaky import Broker
from stream.memory_service import DictStore, HandClock, Instance, running, until
from stream.tally import Drop, dead_letters_topic, drops_topic, levels_topic
from stream.topics_made import FIRST_STAMP_MS

DROPS = drops_topic("watch")
PLACES = [Place(DROPS.name, n) for n in range(2)]
State = Mapping[str, Any]


def watch(state: State, each: Input) -> Decision[State]:
    """Counts drops by partition; the first asks to be woken at once, and the tick notes what has been counted by then."""
    match each:
        case Received(place=place):
            return Decision({**state, str(place): state.get(str(place), 0) + 1}, timers=(Timer("look", each.stamp_ms),))
        case Tick(unread=unread) if "seen" not in state:
            return Decision({**state, "seen": {key: state[key] for key in state}, "unread": sorted(unread)})
        case Tick():
            return Decision(state)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "STANDBY_LOOK_S", 0.001)


def put(log: MemoryLog, place: Place, n: int, value: bytes | None = None) -> None:
    headers = ((CE_TYPE, b"Drop"), (ITEM, f"{place}-{n}".encode()))
    log.append(place, Outbound(b"b", value or Drop(bucket="b", amount=1).to_bytes(), headers, FIRST_STAMP_MS))


async def seen(log: MemoryLog) -> dict[str, Any]:
    """What the first tick knew. Records come one at a time, so that a tick could get in between anywhere."""
    clock = HandClock(now_ms=FIRST_STAMP_MS + 1_000)
    database = MemoryDatabase(lambda: clock.now_s)
    service = Service(
        "watch", "single_active", (DROPS,), (levels_topic("watch"),), dead_letters_topic("watch"), watch, DictStore()
    )
    instance = Instance(service, log, database, clock, MemoryFeed(log, PLACES, records_max=1))
    for topic in (*service.writes, service.dead_letters):
        for n in range(topic.partitions):
            log._records.setdefault(Place(topic.name, n), [])
    async with running(instance, open_publisher=Broker(log).open):
        await until(lambda: "seen" in database._tables.state)
    return database._tables.state


async def test_nobody_is_silent_whose_words_lie_on_the_log() -> None:
    log = MemoryLog()
    for n in range(40):
        put(log, PLACES[0], n)
    put(log, PLACES[1], 0)
    log.append_control_record(PLACES[1])
    state = await seen(log)
    assert state["seen"] == {str(PLACES[0]): 40, str(PLACES[1]): 1}
    assert state["unread"] == []


async def test_a_stopped_partition_delays_no_tick_but_is_named_in_it() -> None:
    log = MemoryLog()
    for n in range(5):
        put(log, PLACES[0], n)
        put(log, PLACES[1], n, b"no drop" if n == 1 else None)
    state = await seen(log)
    assert state["seen"] == {str(PLACES[0]): 5, str(PLACES[1]): 1}
    assert state["unread"] == [PLACES[1]]
