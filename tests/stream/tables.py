"""What a tally's database says, asked as a test asks it: with a connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg


@asynccontextmanager
async def tables(dsn: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, server_settings={"search_path": name})
    try:
        yield connection
    finally:
        await connection.close()


async def value(dsn: str, name: str, query: str, *arguments: object) -> Any:
    """The first value of the answer; None also before the service has made its tables."""
    async with tables(dsn, name) as connection:
        try:
            return await connection.fetchval(query, *arguments)
        except asyncpg.UndefinedTableError:
            return None


async def drops_counted(dsn: str, name: str) -> int:
    """How many drops have been applied, by the state."""
    return int(await value(dsn, name, "SELECT sum(drops) FROM buckets") or 0)


async def settled(dsn: str, name: str, drops: int) -> bool:
    """Whether so many drops are applied (never more), and all that was decided is published."""
    counted = await drops_counted(dsn, name)
    assert counted <= drops, f"{counted} drops were counted, only {drops} fell"
    return counted == drops and bool(
        await value(dsn, name, "SELECT (SELECT max(number) FROM outbox) = (SELECT number FROM relay_mark)")
    )


async def buckets(dsn: str, name: str) -> list[tuple[str, int, int]]:
    """The state, by bucket."""
    async with tables(dsn, name) as connection:
        return [tuple(row) for row in await connection.fetch("SELECT * FROM buckets ORDER BY bucket")]


async def signatures(dsn: str, name: str, pid: int) -> int:
    """How many transactions the process ``pid`` has committed (of a staged tally)."""
    return int(await value(dsn, name, "SELECT count(*) FROM signatures WHERE pid = $1", pid) or 0)


async def signed_last(dsn: str, name: str) -> int:
    """The process whose commit is the latest; 0 before the first."""
    return int(await value(dsn, name, "SELECT pid FROM signatures ORDER BY number DESC LIMIT 1") or 0)
