"""A rebuild takes up again what inputs have left in the state that no output tells, and decides nothing by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from millpond.events.envelope import CE_TYPE
from millpond.stream import leadership
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.stream.log import Outbound
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.record import ITEM, Place
from millpond.stream.recovery.rebuild_postgres import rebuild_database
from millpond.stream.service import Service
from stream.disasters import rows
from stream.flaky import Broker
from stream.memory_service import DictStore, HandClock, Instance, running, settled
from stream.tally import Drop, Level, dead_letters_topic, drops_topic, levels_topic
from stream.topics_made import FIRST_STAMP_MS

NAME = "recaller"
DROPS, LEVELS = drops_topic(NAME), levels_topic(NAME)
PLACE = Place(DROPS.name, 0)
State = Mapping[str, Any]


def decide(state: State, received: Input) -> Decision[State]:
    """Drops of bucket ``quiet`` are only remembered; each other one is answered."""
    assert isinstance(received, Received)
    assert isinstance(received.event, Drop)
    if received.event.bucket == "quiet":
        return recall(state, received)
    level = Level(bucket="loud", total=received.event.amount, drops=1)
    return Decision({**state, "loud": level.total}, (Outgoing(LEVELS, "loud", level, received.stamp_ms),))


def fold(state: State, received: Received) -> Decision[State]:
    assert isinstance(received.event, Level)
    return Decision({**state, "loud": received.event.total})


def recall(state: State, received: Received) -> Decision[State]:
    assert isinstance(received.event, Drop)
    return Decision({**state, "quiet": received.event.amount} if received.event.bucket == "quiet" else state)


class NumberStore:
    """A number by name."""

    schema = "CREATE TABLE IF NOT EXISTS numbers (name text PRIMARY KEY, number bigint NOT NULL)"

    async def load(self, connection: asyncpg.Connection, keys: Any) -> State:
        return dict(map(tuple, await connection.fetch("SELECT name, number FROM numbers")))

    async def save(self, connection: asyncpg.Connection, before: State, after: State) -> None:
        upsert = "INSERT INTO numbers VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET number = excluded.number"
        await connection.executemany(upsert, list(after.items()))


def service(**changes: Any) -> Service[State]:
    made: Service[State] = Service(
        NAME, "single_active", (DROPS,), (LEVELS,), dead_letters_topic(NAME), decide, DictStore(), fold=fold
    )
    return replace(made, **changes)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "STANDBY_LOOK_S", 0.001)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({"recall": recall}, [("loud", 3), ("quiet", 2)]), ({}, [("loud", 3)])],
    ids=["with recall", "without"],
)
async def test_a_covered_input_without_an_output_is_recalled(
    database: str, changes: dict[str, Any], expected: list[tuple[str, int]]
) -> None:
    log = MemoryLog()
    for topic in (DROPS, LEVELS, dead_letters_topic(NAME)):
        for n in range(topic.partitions):
            log._records.setdefault(Place(topic.name, n), [])
    for n, (bucket, amount) in enumerate([("loud", 1), ("quiet", 2), ("loud", 3), ("quiet", 4)]):
        headers = ((CE_TYPE, b"Drop"), (ITEM, f"drop-{n}".encode()))
        value = Drop(bucket=bucket, amount=amount).to_bytes()
        log.append(PLACE, Outbound(b"b", value, headers, FIRST_STAMP_MS + n))
    clock = HandClock(now_ms=FIRST_STAMP_MS + 1_000)
    memory = MemoryDatabase(lambda: clock.now_s)
    # One record a transaction: so the last quiet drop is covered by no output.
    instance = Instance(service(), log, memory, clock, MemoryFeed(log, [PLACE], records_max=1))
    async with running(instance, open_publisher=Broker(log).open):
        await settled(memory, log, [PLACE])
    replaced = await rebuild_database(service(store=NumberStore(), **changes), database, log, now=datetime.now(UTC))
    assert replaced.rebuilt.positions[PLACE] == 3
    assert await rows(database, NAME, "SELECT name, number FROM numbers ORDER BY name") == expected
