"""A service that keeps nothing and looks at each input: its state is None, and its looks are turns of the loop."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from millpond.errors import MillpondError
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.stream.log import Outbound
from millpond.stream.main import run_service
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.stream.service import Service
from stream.flaky import Broker
from stream.memory_service import HandClock, Instance, running, settled
from stream.tally import Drop, Level, dead_letters_topic, drops_topic, levels_topic
from stream.topics_made import rain

NAME = "looker"
DROPS, LEVELS = drops_topic(NAME), levels_topic(NAME)
INPUTS = [Place(DROPS.name, n) for n in range(DROPS.partitions)]
LOOK_S = 20.0


class NoState:
    schema = ""

    async def load(self, connection: object, keys: Sequence[str] | None) -> None:
        return None

    async def save(self, connection: object, before: None, after: None) -> None:
        return None


def no_keys(_received: Input) -> Iterable[str]:
    return ()


def decide(state: None, received: Input) -> Decision[None]:
    assert isinstance(received, Received)
    assert isinstance(received.event, Drop)
    assert isinstance(received.finding, int)
    level = Level(bucket=received.key, total=received.finding, drops=1)
    return Decision(state, (Outgoing(LEVELS, received.key, level, received.stamp_ms),))


async def test_a_service_without_a_state_answers_and_its_looks_show_that_it_lives() -> None:
    clock, log = HandClock(), MemoryLog()
    for topic, count in ((DROPS, DROPS.partitions), (LEVELS, LEVELS.partitions)):
        for partition in range(count):
            log._records[Place(topic.name, partition)] = []
    silent_s: list[float] = []

    async def observe(received: Received) -> object:
        silent_s.append(clock.now_s - instance.process.turned_at_s)
        clock.now_s += LOOK_S
        return received.event.amount  # type: ignore[attr-defined]

    service = Service(
        NAME,
        "grouped",
        (DROPS,),
        (LEVELS,),
        dead_letters_topic(NAME),
        decide,
        NoState(),
        keys=no_keys,
        observe=observe,
    )
    database = MemoryDatabase(lambda: clock.now_s)
    instance = Instance(service, log, database, clock, MemoryFeed(log, INPUTS, records_max=500))
    falls = rain(40, buckets=6)
    for fall in falls:
        place = Place(DROPS.name, partition_of(fall.key_bytes(), DROPS.partitions))
        log.append(place, Outbound(fall.key_bytes(), fall.drop.to_bytes(), tuple(fall.headers()), fall.stamp_ms))
    async with running(instance, open_publisher=Broker(log).open):
        await settled(database, log, INPUTS)
    published = [record for n in range(LEVELS.partitions) for record in log.slice(Place(LEVELS.name, n), 0, 1_000)]
    amounts = sorted(Level.model_validate_json(record.value or b"").total for record in published)
    assert amounts == sorted(fall.drop.amount for fall in falls)
    assert max(silent_s) < 2 * LOOK_S


class KeyGone(MillpondError):
    """{path} can't be opened. Make it again."""


def test_a_service_that_can_t_be_built_says_why_in_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    def build() -> Service[None]:
        raise KeyGone(path="receipt.key")

    assert run_service(build) == 1
    assert "receipt.key can't be opened. Make it again." in capsys.readouterr().out
