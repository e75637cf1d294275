"""``conclude`` speaks once per transaction, behind all of its inputs; what it says is committed with them or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from millpond.events.envelope import CE_TYPE
from millpond.stream.command_desk import CommandDesk
from millpond.stream.decision import Decision, Outgoing, Received
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.plan import Plan, plan_batch
from millpond.stream.position import Position
from millpond.stream.record import ITEM, Record
from millpond.stream.service import Service
from millpond.stream.transact import Batch, RulesFailed, Transactor
from stream.memory_service import DictStore, verify
from stream.tally import Drop, Level, dead_letters_topic, drops_topic, levels_topic, tally

NAME = "tally"
DROPS, LEVELS = drops_topic(NAME), levels_topic(NAME)
State = Mapping[str, Any]


def count(state: State, received: object) -> Decision[State]:
    assert isinstance(received, Received)
    assert isinstance(received.event, Drop)
    return Decision({**state, "drops": state.get("drops", 0) + 1})


def say(state: State) -> Decision[State]:
    level = Level(bucket="all", total=0, drops=state["drops"])
    return Decision({**state, "said": state.get("said", 0) + 1}, (Outgoing(LEVELS, "all", level, 1),))


def fail(state: State) -> Decision[State]:
    raise ZeroDivisionError


async def apply(service: Service[State], drops: int) -> tuple[MemoryDatabase, Any]:
    database = MemoryDatabase(lambda: 0.0)
    transactor = Transactor(service, database, CommandDesk(NAME, service.reads, dead_letters_topic(NAME), verify))
    await database.positions([plan.place for plan in plans_of(drops)])
    applied = await transactor.apply(Batch(plans_of(drops), now_ms=1), {})
    return database, applied


def plans_of(drops: int) -> list[Plan]:
    envelope = (CE_TYPE, b"Drop")
    value = Drop(bucket="b", amount=1).to_bytes()
    records = [Record(DROPS.name, 0, n, b"b", value, (envelope, (ITEM, f"drop-{n}".encode())), 1) for n in range(drops)]
    return [plan_batch(DROPS, records, Position())]


@pytest.mark.parametrize("drops", [1, 7])
async def test_it_sees_all_inputs_of_the_transaction_and_speaks_once(drops: int) -> None:
    service = replace(tally(NAME, decide=count, store=DictStore()), conclude=say)
    database, applied = await apply(service, drops)
    assert applied.published == 1
    assert database._tables.state == {"drops": drops, "said": 1}


async def test_what_fails_in_it_leaves_nothing_applied() -> None:
    service = replace(tally(NAME, decide=count, store=DictStore()), conclude=fail)
    with pytest.raises(RulesFailed):
        await apply(service, 3)
