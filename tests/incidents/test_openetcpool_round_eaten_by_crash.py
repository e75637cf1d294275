"""Incident 22, `openetcpool-round-eaten-by-crash`: one transaction consumed the round, another recorded what it paid.

A crash between the two left the reward on the chain, with nobody credited (open-etc-pool 900536c). Here an epoch's close
is one transaction: what is consumed, what is said, and that it is no longer to be done.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from millpond.events.rewards_epochs import EpochClosed, EpochClosing
from millpond.stream.command_desk import CommandDesk
from millpond.stream.database import WHOLE_SERVICE, OutboxRow
from millpond.stream.memory.database import MemoryDatabase, MemoryTransaction
from millpond.stream.service import Service
from millpond.stream.transact import Batch, Transactor
from millpond_rewards.app import ends_seen_on, rewards
from millpond_rewards.rules import State
from rewards.story import POOL, Story, commission, contributor, line, terms, ticket, watermarks
from stream.memory_service import verify

LINES, CONTRIBUTORS, INCOME = 120, 8, 10**18 + 7


class Crash(Exception):
    """The process is gone."""


@dataclass
class CrashingDatabase(MemoryDatabase):
    """Dies before the row with this number is written; with None, once: its COMMIT is done, and the answer is cut off.

    ``in_two``: what the source did, state and outbox in a transaction each.
    """

    crash_at: int | None
    in_two: bool = False

    def __post_init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.crashed = False

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[MemoryTransaction]:
        before = self._tables
        try:
            async with super().transaction(patient=patient) as transaction:
                yield _Crashing(transaction, self)
        except Crash:
            if self.in_two:
                before.state, before.timers = transaction._tables.state, transaction._tables.timers
            raise
        if self.crash_at is None and not self.crashed and self._tables.outbox:
            self.crashed = True
            raise Crash

    def row_is_written(self, number: int) -> None:
        if number == self.crash_at and not self.crashed:
            self.crashed = True
            raise Crash


class _Crashing(MemoryTransaction):
    def __init__(self, transaction: MemoryTransaction, database: CrashingDatabase) -> None:
        super().__init__(transaction._tables, transaction._leases, transaction._began_at_s)
        self._database = database

    async def put_outbox(self, rows: Sequence[OutboxRow]) -> None:
        for number, row in enumerate(rows):
            self._database.row_is_written(number)
            await super().put_outbox([row])
        self._database.row_is_written(len(rows))


@dataclass
class Kept:
    """A frozen state needs no copies."""

    state: State

    def __deepcopy__(self, memo: object) -> Kept:
        return self


class WholeState:
    """The state as one object."""

    schema = ""

    async def load(self, connection: dict[str, Any], keys: Sequence[str] | None) -> State:
        return connection["state"].state  # type: ignore[no-any-return]

    async def save(self, connection: dict[str, Any], before: State, after: State) -> None:
        connection["state"] = Kept(after)


def at_the_brink() -> Story:
    """An epoch of which everything is decided, and whose close is the next thing to happen."""
    story = Story().tell(terms(split=commission(100_000)))
    for number in range(LINES):
        story.tell(line(contributor(number % CONTRIBUTORS), number + 1, number=number))
    story.tell(ticket(INCOME, number=1)).end_by_command().wait()
    for watermark, copy_ in watermarks(story.last(EpochClosing)):
        story.tell(watermark, partition=copy_)
    return story


async def closed_after(database: CrashingDatabase, state: State) -> list[bytes]:
    """What is in the outbox once a supervisor has started the service again as often as it died, and once more."""
    service = rewards(POOL, ends_seen_on(None))  # type: ignore[arg-type]
    service = Service(**{**vars(service), "store": WholeState()})
    transactor = Transactor(service, database, CommandDesk("rewards", service.reads, service.dead_letters, verify))
    database._tables.state["state"] = Kept(state)
    database._tables.timers[WHOLE_SERVICE, "close"] = 0
    for _ in range(3):
        try:
            await transactor.apply(Batch([], 2_000_000_000_000, [WHOLE_SERVICE]), database._tables.state["state"].state)
        except Crash:
            continue
    return [numbered.row.value for numbered in database._tables.outbox]


async def check(*, in_two: bool) -> None:
    story = at_the_brink()
    whole = await closed_after(CrashingDatabase(crash_at=-1), story.state)
    assert len(whole) == CONTRIBUTORS + 2
    points: list[int | None] = [*range(len(whole) + 1), None]
    for point in points:
        assert await closed_after(CrashingDatabase(point, in_two), story.state) == whole, point
    closed = EpochClosed.model_validate_json(whole[-2])
    assert sum(head.size for head in closed.lines) == LINES
    (pot,) = closed.pots
    assert pot.contributors + pot.operator + pot.carried_out == INCOME
    assert all(part.start == 0 for part in closed.cut)


async def test_openetcpool_round_eaten_by_crash() -> None:
    await check(in_two=False)


async def test_the_double_credits_nobody() -> None:
    with pytest.raises(AssertionError):
        await check(in_two=True)
