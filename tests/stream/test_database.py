"""The database in memory keeps what the one on PostgreSQL keeps; what it can't is listed here as expected failures."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.localstack import LocalStack
from millpond.stream.database import Database, DatabaseAway
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.outlet import partition_of
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.postgres.transaction import KEY_LOCKS, key_lock
from stream.database_contract import DatabaseContract, PassTime


class HandClock:
    def __init__(self) -> None:
        self.now_s = time.time()

    async def pass_time(self, seconds: float) -> None:
        self.now_s += seconds


class TestMemoryDatabase(DatabaseContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def db(self, clock: HandClock) -> Database:
        return MemoryDatabase(lambda: clock.now_s)

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time

    @pytest.fixture
    def another(self, request: pytest.FixtureRequest, clock: HandClock) -> Database:
        request.applymarker(pytest.mark.xfail(reason="memory is one process's; nothing reaches another"))
        return MemoryDatabase(lambda: clock.now_s)

    @pytest.fixture
    def cut_off(self, request: pytest.FixtureRequest) -> Callable[[], Awaitable[None]]:
        request.applymarker(pytest.mark.xfail(reason="memory is never away"))

        async def nothing_happens() -> None:
            return

        return nothing_happens


class TestPostgresDatabase(DatabaseContract):
    @pytest.fixture
    async def schema(self, stack: LocalStack) -> AsyncIterator[str]:
        name = f"contract_{uuid.uuid4().hex[:8]}"
        yield name
        connection = await asyncpg.connect(stack.postgres.dsn())
        try:
            await connection.execute(f'DROP SCHEMA "{name}" CASCADE')
        finally:
            await connection.close()

    @pytest.fixture
    async def db(self, stack: LocalStack, schema: str) -> AsyncIterator[PostgresDatabase]:
        database = await open_database(stack.postgres.dsn(), schema, connections_max=10)
        yield database
        database.pool.terminate()

    @pytest.fixture
    async def another(self, stack: LocalStack, schema: str, db: Database) -> AsyncIterator[PostgresDatabase]:
        database = await open_database(stack.postgres.dsn(), schema)
        yield database
        database.pool.terminate()

    @pytest.fixture
    def pass_time(self) -> PassTime:
        return asyncio.sleep

    @pytest.fixture
    def cut_off(self, stack: LocalStack, db: PostgresDatabase) -> Callable[[], Awaitable[None]]:
        async def terminate() -> None:
            connection = await asyncpg.connect(stack.postgres.dsn())
            try:
                await connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
                    f"millpond-{db.schema}",
                )
            finally:
                await connection.close()

        return terminate


@given(one=st.text(), other=st.text(), partitions=st.sampled_from([2**n for n in range(1, 13)]))
def test_keys_of_different_partitions_never_share_a_lock(one: str, other: str, partitions: int) -> None:
    assert 0 <= key_lock(one) < KEY_LOCKS
    if partition_of(one.encode(), partitions) != partition_of(other.encode(), partitions):
        assert key_lock(one) != key_lock(other)


async def test_a_server_that_is_not_there_is_away() -> None:
    with pytest.raises(DatabaseAway):
        await open_database("postgresql://nobody@127.0.0.1:1/none", "tally")


async def test_many_instances_can_start_at_once(stack: LocalStack) -> None:
    schema = f"contract_{uuid.uuid4().hex[:8]}"
    opened = await asyncio.gather(*(open_database(stack.postgres.dsn(), schema) for _ in range(6)))
    async with opened[0].transaction() as transaction:
        await transaction.connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
    for database in opened:
        database.pool.terminate()


async def test_opening_again_keeps_what_is_there(stack: LocalStack) -> None:
    schema = f"contract_{uuid.uuid4().hex[:8]}"
    own = "CREATE TABLE IF NOT EXISTS mine (n int)"
    first = await open_database(stack.postgres.dsn(), schema, service_schema=own)
    async with first.transaction() as transaction:
        await transaction.connection.execute("INSERT INTO mine VALUES (1)")
        await transaction.put_nonce("0x1", "t", "k", 5)
    second = await open_database(stack.postgres.dsn(), schema, service_schema=own)
    async with second.transaction() as transaction:
        assert await transaction.connection.fetchval("SELECT n FROM mine") == 1
        assert await transaction.last_nonce("0x1", "t", "k") == 5
        await transaction.connection.execute(f'DROP SCHEMA "{schema}" CASCADE')
    for database in (first, second):
        database.pool.terminate()
