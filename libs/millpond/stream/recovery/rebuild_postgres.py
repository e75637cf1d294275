"""Puts a rebuilt schema in the place of one that is behind. The old one is renamed, never deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg

from millpond.errors import MillpondError
from millpond.stream.database import DatabaseAway
from millpond.stream.log import Log
from millpond.stream.postgres.database import AWAY, open_database
from millpond.stream.recovery.rebuild import Rebuild, Rebuilt, Told
from millpond.stream.service import Service
from millpond.stream.starting import DatabaseBehind, check_published, check_topics

# A process that has just ended is still listed by the server for a moment.
STOPPING_S = 2.0


class ServiceRunning(MillpondError):
    """{connections} connections of {service} are open: it is running, or restarting. Stop all its instances first."""


class DatabaseWhole(MillpondError):
    """The database of {service} knows everything that {service} has published: there is nothing to rebuild. Start it."""


@dataclass(frozen=True)
class Replaced:
    """A finished rebuild; ``kept_as`` is the name that the old schema has now, None if there was none."""

    rebuilt: Rebuilt
    kept_as: str | None


async def rebuild_database(
    service: Service[Any], dsn: str, log: Log, *, now: datetime, told: Told = lambda *_: None, anyway: bool = False
) -> Replaced:
    """Rebuilds beside the old schema, and swaps the two at the end: whatever happens before, nothing has changed.

    ``anyway``: also if the old one doesn't look behind, or if a transaction was published in part.
    Raises ``ServiceRunning``, ``DatabaseWhole``, ``LogBehind``, and what ``Rebuild.run`` raises.
    """
    await check_topics(service.name, (*service.reads, *service.writes, service.dead_letters), log)
    async with connected(dsn) as connection:
        await check_stopped(connection, service.name)
        there = await connection.fetchval("SELECT to_regnamespace(quote_ident($1)) IS NOT NULL", service.name)
        if there:
            await _check_behind(service, dsn, log, anyway=anyway)
        beside = f"{service.name}_rebuilding"
        # What a rebuild that was cut off has left: nothing but a copy of what is on the log.
        await connection.execute(f'DROP SCHEMA IF EXISTS "{beside}" CASCADE')
        database = await open_database(dsn, beside, service_schema=service.store.schema)
        try:
            rebuilt = await Rebuild(service, database, log, told, anyway=anyway).run()
        finally:
            await database.close()
        await check_stopped(connection, service.name)
        kept_as = f"{service.name}_before_{now.astimezone(UTC):%Y%m%dt%H%M%S}" if there else None
        async with connection.transaction():
            if kept_as is not None:
                await connection.execute(f'ALTER SCHEMA "{service.name}" RENAME TO "{kept_as}"')
            await connection.execute(f'ALTER SCHEMA "{beside}" RENAME TO "{service.name}"')
    return Replaced(rebuilt, kept_as)


async def _check_behind(service: Service[Any], dsn: str, log: Log, *, anyway: bool) -> None:
    database = await open_database(dsn, service.name, service_schema=service.store.schema, connections_max=1)
    try:
        await check_published(service.name, (*service.writes, service.dead_letters), database, log)
    except DatabaseBehind:
        return
    finally:
        await database.close()
    if not anyway:
        raise DatabaseWhole(service=service.name)


async def check_stopped(connection: asyncpg.Connection, service: str) -> None:
    """Raises ``ServiceRunning``. An instance that runs on would publish what the rebuild doesn't know."""
    deadline_s = time.monotonic() + STOPPING_S
    while True:
        open_connections = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = $1",
            f"millpond-{service}",
        )
        if not open_connections:
            return
        if time.monotonic() > deadline_s:
            raise ServiceRunning(service=service, connections=open_connections)
        await asyncio.sleep(0.05)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the command's own. Raises ``DatabaseAway``."""
    try:
        connection = await asyncpg.connect(dsn, server_settings={"application_name": "millpond-recovery"})
        try:
            yield connection
        finally:
            await connection.close()
    except AWAY as cause:
        raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause
