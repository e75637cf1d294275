"""The statements of a rebuild: rows with the numbers they had, positions as the outputs prove them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import asyncpg

from millpond.stream.database import NumberedRow, RelayProgress
from millpond.stream.position import Position
from millpond.stream.postgres.database import PostgresDatabase
from millpond.stream.record import Place


async def is_empty(database: PostgresDatabase) -> bool:
    async with database.transaction() as transaction:
        # is_empty: positions are inserted when a partition is first assigned, so a schema may have some and know nothing.
        used = await transaction.connection.fetchval(
            """
            SELECT EXISTS (SELECT FROM outbox) OR EXISTS (SELECT FROM positions WHERE next_offset > 0)
                OR (SELECT number FROM relay_mark) > 0 OR EXISTS (SELECT FROM items) OR EXISTS (SELECT FROM dead_letters)
            """
        )
    return not used


async def put_numbered(connection: asyncpg.Connection, rows: Sequence[NumberedRow]) -> None:
    await connection.copy_records_to_table(
        "outbox",
        columns=("number", "topic", "partition", "key", "value", "event_type", "time_ms", "headers"),
        records=[
            (n.number, r.topic, r.partition, r.key, r.value, r.event_type, r.time_ms, r.headers)
            for n in rows
            for r in (n.row,)
        ],
    )


async def finish(
    database: PostgresDatabase,
    positions: Mapping[Place, Position],
    progress: Mapping[Place, RelayProgress],
    highest: int,
) -> None:
    """Sets where reading and publishing go on, and lets the next number follow the highest on the log."""
    async with database.transaction() as transaction:
        connection = transaction.connection
        await connection.executemany(
            """
            INSERT INTO positions VALUES ($1, $2, $3, $4, $5) ON CONFLICT (topic, partition) DO UPDATE
            SET next_offset = excluded.next_offset, last_hash = excluded.last_hash, numbers = excluded.numbers
            """,
            [(*place, at.next_offset, at.last_hash, json.dumps(dict(at.numbers))) for place, at in positions.items()],
        )
        await connection.executemany(
            "INSERT INTO relay_progress VALUES ($1, $2, $3, $4)",
            [(*place, at.next_offset, at.last_number) for place, at in progress.items()],
        )
        await connection.execute("UPDATE relay_mark SET number = $1", highest)
        if highest:
            await connection.execute("SELECT setval(pg_get_serial_sequence('outbox', 'number'), $1)", highest)


async def raise_clocks(database: PostgresDatabase, scopes: Sequence[Place], as_of_ms: int) -> None:
    async with database.transaction() as transaction:
        await transaction.connection.executemany(
            """
            INSERT INTO clocks VALUES ($1, $2, $3) ON CONFLICT (topic, partition)
            DO UPDATE SET as_of_ms = greatest(clocks.as_of_ms, excluded.as_of_ms)
            """,
            [(*scope, as_of_ms) for scope in scopes],
        )
