"""One role and one schema per service, on a real PostgreSQL."""

from __future__ import annotations

import uuid
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from millpond.stream.postgres.database import TIMEOUTS, open_database
from millpond.stream.postgres.provision import InvalidServiceName, MayNotProvision, provision


def as_role(dsn: str, role: str, password: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"{role}:{password}@{parts.hostname}:{parts.port}"))


@pytest.fixture
def services() -> tuple[str, str]:
    """Roles belong to the server, not to the test's database: names of this test's own."""
    return f"s{uuid.uuid4().hex[:10]}", f"s{uuid.uuid4().hex[:10]}"


async def test_a_service_opens_its_schema_and_nobody_elses(database: str, services: tuple[str, str]) -> None:
    mine, other = services
    for service in services:
        await provision(database, service, f"secret of {service}".replace(" ", "_"))
    for service in services:
        opened = await open_database(as_role(database, service, f"secret_of_{service}"), service)
        await opened.close()
    connection = await asyncpg.connect(as_role(database, mine, f"secret_of_{mine}"))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await connection.fetch(f"SELECT * FROM {other}.outbox")
    await connection.close()


async def test_a_role_brings_its_time_limits_along(database: str, services: tuple[str, str]) -> None:
    await provision(database, services[0], "x")
    connection = await asyncpg.connect(as_role(database, services[0], "x"))
    # Whoever connects with it by hand can't hold locks for ever either.
    assert {
        name: await connection.fetchval("SELECT setting::int FROM pg_settings WHERE name = $1", name)
        for name in TIMEOUTS
    } == (TIMEOUTS)
    await connection.close()


async def test_applying_again_changes_the_password(database: str, services: tuple[str, str]) -> None:
    await provision(database, services[0], "old")
    await provision(database, services[0], "it's \\ new")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(as_role(database, services[0], "old"))
    parts = urlsplit(database)
    connection = await asyncpg.connect(
        host=parts.hostname, port=parts.port, user=services[0], password="it's \\ new", database=parts.path[1:]
    )
    await connection.close()


@pytest.mark.parametrize("name", ["", "1st", 'a"; DROP TABLE x; --', "Upper", "a" * 64])
async def test_a_name_that_is_no_identifier_is_refused(database: str, name: str) -> None:
    with pytest.raises(InvalidServiceName):
        await provision(database, name, "x")


async def test_an_administrator_without_the_right_is_told_so(database: str, services: tuple[str, str]) -> None:
    await provision(database, services[0], "x")
    with pytest.raises(MayNotProvision):
        await provision(as_role(database, services[0], "x"), services[1], "y")
