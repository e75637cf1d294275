"""Incident 57, `kamu1398-outbox-gap`: numbers are given at insert, rows become visible at commit.

A relay that remembers the highest number it has sent passes over a slower transaction's rows for ever (kamu-cli #1398,
emmett PR 336, Eventuous #222). Here a number is given under a lock that is held until commit: numbers are commit order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

import pytest

from millpond.stream.database import DatabaseAway, OutboxRow
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.postgres.transaction import PostgresTransaction

SEED = 1398
INTERLEAVINGS_IN_THE_MODEL = 100_000
INTERLEAVINGS_ON_POSTGRES = 150
WRITERS = 3
ROWS_MAX = 1_000
# How long a step may take until it counts as waiting for another transaction.
WAITING_AFTER_S = 0.02

Act = Literal["write", "commit", "roll_back", "poll"]


@dataclass(frozen=True)
class Step:
    """What happens next, and to which transaction; the relay's polls belong to none."""

    act: Act
    writer: int = -1


def interleaving(chance: random.Random) -> list[Step]:
    """Each writer writes once or twice and ends; in between, wherever, the relay polls. At the end it polls once more."""
    lives = []
    for writer in range(WRITERS):
        life = [Step("write", writer)] * chance.randrange(1, 3)
        lives.append([*life, Step("commit" if chance.random() < 0.8 else "roll_back", writer)])
    lives.append([Step("poll")] * 3)
    steps = []
    while any(lives):
        steps.append(chance.choice([life for life in lives if life]).pop(0))
    return [*steps, Step("poll")]


@dataclass
class Told:
    """What an interleaving came to: values in the order of the commits, and as the relay sent them."""

    committed: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Every committed row is sent, none that was not, and in the order of the commits."""
        assert self.sent == self.committed

    def check_set(self) -> None:
        """As ``check``, where two commits came so close that only the server knows which was first."""
        assert sorted(self.sent) == sorted(self.committed)
        for writer in range(WRITERS):
            own = [value for value in self.sent if value.startswith(f"{writer}/")]
            assert own == sorted(own)


# --- The model: PostgreSQL's numbers, visibility and locks, and nothing else.


@dataclass
class Model:
    """``locked``: a number is given only to who holds the outbox's lock, which is released at the end."""

    locked: bool
    told: Told = field(default_factory=Told)
    number: int = 0
    holder: int | None = None
    queues: dict[int, list[Step]] = field(default_factory=dict)
    written: dict[int, list[tuple[int, str]]] = field(default_factory=dict)
    visible: list[tuple[int, str]] = field(default_factory=list)
    mark: int = 0

    def run(self, steps: Sequence[Step]) -> Told:
        for step in steps:
            if step.act == "poll":
                self._poll()
            else:
                self.queues.setdefault(step.writer, []).append(step)
                self._go_on()
        self._poll()
        return self.told

    def _go_on(self) -> None:
        """Every transaction goes as far as the lock lets it."""
        going = True
        while going:
            going = sum(self._try_next(writer) for writer in list(self.queues)) > 0

    def _try_next(self, writer: int) -> bool:
        queue = self.queues[writer]
        if not queue or (self.locked and queue[0].act == "write" and self.holder not in (None, writer)):
            return False
        step = queue.pop(0)
        rows = self.written.setdefault(writer, [])
        if step.act == "write":
            self.holder, self.number = writer, self.number + 1
            rows.append((self.number, f"{writer}/{len(rows)}"))
            return True
        if step.act == "commit":
            self.visible += rows
            self.told.committed += [value for _, value in rows]
        if self.holder == writer:
            self.holder = None
        return True

    def _poll(self) -> None:
        rows = sorted(row for row in self.visible if row[0] > self.mark)
        self.told.sent += [value for _, value in rows]
        self.mark = max([self.mark, *(number for number, _ in rows)])


def test_no_interleaving_of_a_hundred_thousand_skips_a_row() -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(INTERLEAVINGS_IN_THE_MODEL):
        Model(locked=True).run(interleaving(chance)).check()


def test_the_same_check_fails_where_numbers_are_given_without_the_lock() -> None:
    chance = random.Random(SEED)
    failures = sum(_fails(Model(locked=False).run(interleaving(chance))) for _ in range(1_000))
    assert failures > 100


def _fails(told: Told) -> bool:
    try:
        told.check()
    except AssertionError:
        return True
    return False


# --- The same on PostgreSQL, with the library's own transaction, and with a double that doesn't lock.


class NaiveTransaction(PostgresTransaction):
    """What the sources did: insert, commit, and let the relay remember the highest number."""

    async def put_outbox(self, rows: Sequence[OutboxRow]) -> None:
        await self.connection.executemany(
            "INSERT INTO outbox (topic, partition, key, value, event_type, time_ms, headers)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [(r.topic, r.partition, r.key, r.value, r.event_type, r.time_ms, r.headers) for r in rows],
        )


class NaiveDatabase(PostgresDatabase):
    """The library's, but for the lock."""

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[PostgresTransaction]:
        async with super().transaction() as transaction:
            yield NaiveTransaction(transaction.connection, self.schema)


@pytest.fixture
async def outbox(database: str) -> AsyncIterator[PostgresDatabase]:
    opened = await open_database(database, "kamu")
    yield opened
    await opened.close()


class RolledBack(Exception):
    """The writer thinks better of it."""


class Stage:
    """Plays an interleaving with real transactions; the relay's poll is the library's query."""

    def __init__(self, outbox: PostgresDatabase) -> None:
        self._outbox = outbox
        self._mark = 0
        self._told = Told()

    async def play(self, steps: Sequence[Step]) -> Told:
        self._mark = await self._outbox.outbox_end()
        self._told = Told()
        queues: dict[int, asyncio.Queue[Act]] = {writer: asyncio.Queue() for writer in range(WRITERS)}
        writers = [asyncio.create_task(self._write(writer, queue)) for writer, queue in queues.items()]
        for step in steps:
            if step.act == "poll":
                await self._poll()
            else:
                queues[step.writer].put_nowait(step.act)
                # Done, or waiting for another transaction: either way the next step may happen.
                with suppress(TimeoutError):
                    await asyncio.wait_for(queues[step.writer].join(), WAITING_AFTER_S)
        await asyncio.gather(*writers)
        await self._poll()
        return self._told

    async def _write(self, writer: int, acts: asyncio.Queue[Act]) -> None:
        values: list[str] = []
        try:
            async with self._outbox.transaction() as transaction:
                while (act := await acts.get()) == "write":
                    values.append(f"{writer}/{len(values)}")
                    await transaction.put_outbox([row(values[-1])])
                    acts.task_done()
                if act == "roll_back":
                    raise RolledBack
            self._told.committed += values
        except RolledBack:
            pass
        finally:
            acts.task_done()

    async def _poll(self) -> None:
        for numbered in await self._outbox.outbox_after(self._mark, ROWS_MAX):
            self._mark = numbered.number
            self._told.sent.append(numbered.row.value.decode())


def row(text: str) -> OutboxRow:
    return OutboxRow("kamu.rows.v1", 0, b"key", text.encode(), "Row", 0, "[]")


def told_stories(ending: Act) -> Iterator[list[Step]]:
    """The incident itself: 0 takes its number, 1 takes the next and commits, the relay polls, and only then 0 ends."""
    overtaken = [Step("write", 0), Step("write", 1), Step("commit", 1), Step("poll"), Step(ending, 0)]
    yield [*overtaken, Step("write", 2), Step("commit", 2), Step("poll")]


@pytest.mark.parametrize("ending", ["commit", "roll_back"])
async def test_the_slower_transaction_is_not_passed_over(outbox: PostgresDatabase, ending: Act) -> None:
    for steps in told_stories(ending):
        told = await Stage(outbox).play(steps)
        told.check_set()
        assert len(told.sent) == (3 if ending == "commit" else 2)


async def test_the_same_check_fails_against_a_relay_that_remembers_the_highest_number(outbox: PostgresDatabase) -> None:
    naive = NaiveDatabase(outbox.pool, outbox.schema)
    chance = random.Random(SEED)
    played = [await Stage(naive).play(interleaving(chance)) for _ in range(INTERLEAVINGS_ON_POSTGRES)]
    assert any(len(told.sent) < len(told.committed) for told in played)
    for steps in told_stories("commit"):
        told = await Stage(naive).play(steps)
        assert told.sent == ["1/0", "2/0"], "0's row has been passed over"
        with pytest.raises(AssertionError):
            told.check_set()


async def test_no_interleaving_of_real_transactions_skips_a_row(outbox: PostgresDatabase) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for _ in range(INTERLEAVINGS_ON_POSTGRES):
        (await Stage(outbox).play(interleaving(chance))).check_set()


async def test_a_transaction_that_stays_open_delays_the_others_for_a_bounded_time_and_loses_nothing(
    outbox: PostgresDatabase,
) -> None:
    """Ten minutes in the source. Here the server ends it after 1.5 s; whoever waits behind it is not cancelled before."""
    written, never = asyncio.Event(), asyncio.Event()

    async def stays_open() -> None:
        async with outbox.transaction() as transaction:
            await transaction.put_outbox([row("of the one that stays open")])
            written.set()
            await never.wait()

    async def another() -> None:
        async with outbox.transaction() as transaction:
            await transaction.put_outbox([row("of another")])

    open_still = asyncio.create_task(stays_open())
    await written.wait()
    await another()
    sent = [each.row.value for each in await outbox.outbox_after(0, ROWS_MAX)]
    assert sent == [b"of another"]
    never.set()
    await _is_away(open_still)
    assert [each.row.value for each in await outbox.outbox_after(0, ROWS_MAX)] == sent


async def _is_away(work: Awaitable[None]) -> None:
    with pytest.raises(DatabaseAway):
        await work
