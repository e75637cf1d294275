"""Many rows in one statement: in their order, and each value as it was."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from millpond.stream.postgres.rows import insert_rows

COLUMNS = {"name": "text", "words": "text[]", "bytes": "bytea", "amount": "bigint", "good": "boolean"}
ROWS = [
    ("z", ["transcode", 'with "quotes"', "back\\slash", "com,ma", "{brace}", "", "NULL"], b"\x00\xff", 2**62, True),
    ("a", [], b"", -1, False),
    ("m", ["ü"], b"m", 0, True),
]


@pytest.fixture
async def connection(database: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database)
    await connection.execute(
        "CREATE TEMP TABLE kept (number bigserial, name text, words text[], bytes bytea, amount bigint, good boolean)"
    )
    yield connection
    await connection.close()


async def test_rows_stand_there_as_they_were_given(connection: asyncpg.Connection) -> None:
    await insert_rows(connection, "kept", COLUMNS, ROWS)
    found = await connection.fetch("SELECT name, words, bytes, amount, good FROM kept ORDER BY number")
    assert list(map(tuple, found)) == ROWS


async def test_no_rows_are_no_statement(connection: asyncpg.Connection) -> None:
    await insert_rows(connection, "kept", COLUMNS, [])
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
