"""A role and a schema for each service: nobody reads another's tables, and no frozen process keeps its locks (STREAM 8, 18)."""

from __future__ import annotations

import re

import asyncpg

from millpond.errors import MillpondError
from millpond.stream.database import DatabaseAway
from millpond.stream.postgres.database import AWAY, TIMEOUTS

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class InvalidServiceName(MillpondError):
    """{name!r} can't name a role and a schema: a to z, 0 to 9 and _, a letter first, at most 63."""


class MayNotProvision(MillpondError):
    """The administrator's role may not make roles and schemas: {cause}. Use a superuser, or one with CREATEROLE and CREATE
    on the database."""


async def provision(admin_dsn: str, service: str, password: str) -> None:
    """Makes the service's role (it may log in with ``password``) and its schema, or brings them up to date.

    Raises ``InvalidServiceName``, ``MayNotProvision``, ``DatabaseAway``.
    """
    if not _NAME.fullmatch(service):
        raise InvalidServiceName(name=service)
    try:
        connection = await asyncpg.connect(admin_dsn)
        try:
            async with connection.transaction():
                await _make(connection, service, password)
        finally:
            await connection.close()
    except (asyncpg.InsufficientPrivilegeError, asyncpg.InvalidAuthorizationSpecificationError) as cause:
        raise MayNotProvision(cause=cause) from cause
    except AWAY as cause:
        raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause


async def _make(connection: asyncpg.Connection, service: str, password: str) -> None:
    # Two operators at once: roles are the server's, and CREATE ROLE knows no IF NOT EXISTS.
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('millpond/provision'))")
    if not await connection.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", service):
        await connection.execute(f'CREATE ROLE "{service}" LOGIN')
    # A utility statement takes no parameters; format() quotes the password as a literal.
    await connection.execute(
        await connection.fetchval("SELECT format('ALTER ROLE %I PASSWORD %L', $1::text, $2::text)", service, password)
    )
    for name, value in TIMEOUTS.items():
        await connection.execute(f'ALTER ROLE "{service}" SET {name} = {value}')
    await connection.execute(f'GRANT "{service}" TO CURRENT_USER')
    await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{service}" AUTHORIZATION "{service}"')
    await connection.execute(f'REVOKE ALL ON SCHEMA "{service}" FROM PUBLIC')
