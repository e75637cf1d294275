"""The board as PostgreSQL keeps it: whoever takes over knows what the one before him knew."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest

from millpond.events.registry_gpus import LivenessPaused, LivenessResumed
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.record import Place
from millpond_scheduler.rules import READS, Board
from millpond_scheduler.store import BoardStore
from scheduler.play import Play
from scheduler.samples import (
    START_MS,
    at,
    contributor_suspended,
    device_removed,
    failed,
    gateway,
    gone,
    gpu,
    joined,
    progress,
    requested,
    succeeded,
    suspect,
    suspended,
    terms,
)

STORED = ("jobs", "attempts", "asked", "gpus", "standings", "devices", "gateways", "barred", "offers", "counts")


@dataclass
class Stored:
    """A store on a database of its own."""

    database: PostgresDatabase
    store: BoardStore

    async def save(self, board: Board) -> None:
        async with self.database.transaction() as transaction:
            await self.store.save(transaction.connection, board, board)

    async def load(self) -> Board:
        async with self.database.transaction() as transaction:
            return await self.store.load(transaction.connection, None)


@pytest.fixture
async def stored(database: str) -> AsyncIterator[Stored]:
    store = BoardStore(READS)
    opened = await open_database(database, "scheduler", service_schema=store.schema)
    yield Stored(opened, store)
    await opened.close()


STEPS: list[Callable[[Play], object]] = [
    lambda play: play(
        terms(), terms(version=2, effective_from_epoch=5), gateway(), gateway("other"), suspended("other")
    ),
    lambda play: play(*joined("g1", slots=2), *joined("g2", "bob"), *joined("g3")),
    lambda play: play(*(requested(f"j{n}") for n in range(6)), requested("strange", gateway="unknown")),
    lambda play: play(progress(play.all(JobAssigned)[0], _who(play.all(JobAssigned)[0]))),
    lambda play: play(failed(play.all(JobAssigned)[0], _who(play.all(JobAssigned)[0]))),
    lambda play: play(succeeded(play.all(JobAssigned)[1], _who(play.all(JobAssigned)[1]))),
    lambda play: play(suspect("g3"), contributor_suspended("bob")),
    lambda play: play(EpochClosing(epoch=0, ends={}, as_of=at(START_MS))),
    lambda play: play(gone("g1")),
    lambda play: play(LivenessPaused(silent=3, devices=4, sentence="", as_of=at(START_MS))),
    lambda play: play(LivenessResumed(silent=0, devices=4, as_of=at(START_MS + 1_000))),
    lambda play: play(LivenessPaused(silent=3, devices=4, sentence="", as_of=at(START_MS))),
    lambda play: play.after(3),
    lambda play: play(device_removed("g3"), contributor_suspended("c-g1")),
    lambda play: play.after(90),
]


def _who(assigned: JobAssigned) -> str:
    return next(name for name in ("g1", "g2", "g3") if gpu(name) == assigned.gpu)


async def test_what_is_loaded_is_what_was_known_after_every_step(stored: Stored) -> None:
    play = Play()
    for step in STEPS:
        step(play)
        board = play.board
        await stored.save(board)
        loaded = await stored.load()
        for name in STORED:
            assert getattr(loaded, name) == getattr(board, name), name
        assert list(loaded.ranking) == list(board.ranking)
        assert loaded.running == board.running
        assert loaded.due.earliest_ms() == board.due.earliest_ms()
        # From here on the one that took over decides.
        loaded.read = board.read
        play.board = loaded
    assert {closed.reason for closed in play.all(AttemptClosed)} >= {"crashed", "done", "gpu-gone", "deadline-passed"}


async def test_only_what_has_changed_is_written(stored: Stored) -> None:
    play = Play()
    play(terms(), gateway(), *joined("g1"), *joined("g2"), requested("j1"))
    await stored.save(play.board)
    async with stored.database.transaction() as transaction:
        await transaction.connection.execute("DELETE FROM devices; DELETE FROM jobs")
    await stored.save(play.board)
    loaded = await stored.load()
    assert loaded.devices == {}
    assert loaded.gpus.keys() == play.board.gpus.keys()


async def test_how_far_was_read_comes_from_the_librarys_own_positions(stored: Stored) -> None:
    await stored.database.positions([Place(topic.name, 0) for topic in READS])
    async with stored.database.transaction() as transaction:
        await transaction.connection.execute("UPDATE positions SET next_offset = 7 WHERE topic = 'gateway.jobs.v1'")
    loaded = await stored.load()
    assert loaded.read["gateway.jobs.v1"] == [7] + [0] * 11
    assert loaded.read.keys() == {topic.name for topic in READS}


async def test_tables_of_before_are_brought_up_to_date_with_what_is_in_them(stored: Stored, play: Play) -> None:
    for step in STEPS[:3]:
        step(play)
    await stored.save(play.board)
    async with stored.database.transaction() as transaction:
        await transaction.connection.execute(
            """
            ALTER TABLE counts DROP COLUMN paused_ms, ADD COLUMN paused boolean NOT NULL DEFAULT true;
            ALTER TABLE attempts DROP COLUMN forgiven;
            """
        )
    for _ in range(2):
        async with stored.database.transaction() as transaction:
            await transaction.connection.execute(stored.store.schema)
    known = await stored.load()
    assert known.attempts == play.board.attempts
    assert known.attempts
    assert known.counts.paused_ms is None
