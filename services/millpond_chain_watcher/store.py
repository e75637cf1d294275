"""The watcher's own tables: one step on the chain is one transaction, together with what it has to say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

from millpond.chain.answers import BlockId
from millpond.errors import MillpondError
from millpond.events.on_chain import AtBlock, InTransaction, item_of
from millpond.events.topics import TOPICS
from millpond.stream.database import DatabaseAway, Lease
from millpond.stream.postgres.database import AWAY, PostgresDatabase
from millpond.stream.source import Observed
from millpond_chain_watcher.rules import Books, Contracts, News, Sighting

UNSENT_ROWS_MAX = 1_000


class WatchesAnother(MillpondError):
    """The database's sums are those of {found}, but the settings say {wanted}. Watch them with a schema of their own."""


@dataclass(frozen=True)
class Progress:
    """How far the chain was read; see ``schema.sql``."""

    final: BlockId
    seen: BlockId
    contracts: Contracts
    books: Books
    snapshot: tuple[int, int, int] | None


@dataclass(frozen=True)
class Step:
    """What one look changes: ``closed`` is observed no longer, but final or orphaned."""

    progress: Progress
    observed: Sequence[Sighting]
    closed: Iterable[str]
    news: Sequence[News]
    stamp_ms: int


def schema() -> str:
    """Idempotent SQL."""
    return files("millpond_chain_watcher").joinpath("schema.sql").read_text()


class WatcherStore:
    """Every method raises ``DatabaseAway``."""

    def __init__(self, database: PostgresDatabase, watched: str) -> None:
        self._database = database
        self._watched = watched

    async def load(self) -> tuple[Progress | None, dict[str, Sighting]]:
        """Progress, None before the first start, and what is observed. Raises ``WatchesAnother``."""
        async with self._connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            row = await connection.fetchrow("SELECT * FROM progress")
            rows = await connection.fetch("SELECT item, topic, key, type, event FROM sightings")
        if row is not None and row["watched"] != self._watched:
            raise WatchesAnother(found=row["watched"], wanted=self._watched)
        return None if row is None else _progress(row), {each["item"]: _sighting(each) for each in rows}

    async def apply(self, lease: Lease, step: Step) -> None:
        """All of it or nothing. Raises ``LeaseLost``."""
        async with self._database.transaction() as transaction:
            await transaction.hold_lease(lease)
            connection = transaction.connection
            await _put_progress(connection, self._watched, step.progress)
            await connection.executemany(
                "INSERT INTO sightings VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                [(s.item, s.topic, s.key, s.event.type_name, s.event.to_bytes()) for s in step.observed],
            )
            await connection.execute("DELETE FROM sightings WHERE item = ANY($1)", list(step.closed))
            await connection.executemany(
                "INSERT INTO unsent (topic, key, type, event, stamp_ms) VALUES ($1, $2, $3, $4, $5)",
                [(n.topic, n.key, n.event.type_name, n.event.to_bytes(), step.stamp_ms) for n in step.news],
            )

    async def unsent(self) -> list[tuple[int, Observed]]:
        """What Kafka has not acknowledged yet, in order, each with its number."""
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT * FROM unsent ORDER BY number LIMIT $1", UNSENT_ROWS_MAX)
        return [(row["number"], _observed(row)) for row in rows]

    async def sent(self, numbers: Sequence[int]) -> None:
        async with self._connection() as connection:
            await connection.execute("DELETE FROM unsent WHERE number = ANY($1)", numbers)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._database.pool.acquire() as connection:
                yield connection
        except AWAY as cause:
            raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause


async def _put_progress(connection: asyncpg.Connection, watched: str, progress: Progress) -> None:
    await connection.execute(
        """
        INSERT INTO progress (watched, final_number, final_hash, seen_number, seen_hash, contracts,
                              opening_wei, income_wei, withdrawn_wei, snapshot)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (only_row) DO UPDATE
        SET final_number = $2, final_hash = $3, seen_number = $4, seen_hash = $5, contracts = $6,
            income_wei = $8, withdrawn_wei = $9, snapshot = $10
        """,
        watched,
        *progress.final,
        *progress.seen,
        json.dumps(dict(progress.contracts.addresses)),
        progress.books.opening,
        progress.books.income,
        progress.books.withdrawn,
        # As text: JSON's numbers are floats to many a reader.
        None if progress.snapshot is None else json.dumps([str(figure) for figure in progress.snapshot]),
    )


def _progress(row: asyncpg.Record) -> Progress:
    snapshot = None if row["snapshot"] is None else tuple(int(figure) for figure in json.loads(row["snapshot"]))
    return Progress(
        final=BlockId(row["final_number"], row["final_hash"]),
        seen=BlockId(row["seen_number"], row["seen_hash"]),
        contracts=Contracts(json.loads(row["contracts"])),
        books=Books(*(int(row[name]) for name in ("opening_wei", "income_wei", "withdrawn_wei"))),
        snapshot=snapshot,  # type: ignore[arg-type]  # three, as they were put in
    )


def _event(row: asyncpg.Record) -> AtBlock:
    event = TOPICS[row["topic"]].event_types[row["type"]].model_validate_json(row["event"])
    assert isinstance(event, AtBlock)
    return event


def _sighting(row: asyncpg.Record) -> Sighting:
    event = _event(row)
    assert isinstance(event, InTransaction)
    return Sighting(row["topic"], row["key"], event)


def _observed(row: asyncpg.Record) -> Observed:
    event = _event(row)
    return Observed(TOPICS[row["topic"]], row["key"], event, item_of(event), row["stamp_ms"])
