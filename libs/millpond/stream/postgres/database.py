"""A service's database on PostgreSQL: one schema, one role, SQL as SQL (STREAM 6 to 11, 18)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files

import asyncpg

from millpond.stream.database import (
    DatabaseAway,
    DeadLetter,
    Lease,
    LeaseLost,
    NumberedRow,
    OutboxRow,
    RelayProgress,
)
from millpond.stream.position import Position
from millpond.stream.postgres.transaction import PostgresTransaction, dead_letter_from, lock_id
from millpond.stream.record import Place

# A frozen process keeps its locks: after this long the server ends its transaction, so that nobody waits 2 s for it.
IDLE_IN_TRANSACTION_MS = 1_500
# Longer than that: who waits behind a frozen one is to get the lock when it comes free, not to give up just before.
LOCK_MS = 2_500
STATEMENT_MS = 3_000
TIMEOUTS = {
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_MS,
    "lock_timeout": LOCK_MS,
    "statement_timeout": STATEMENT_MS,
}

# What says that the server is away or busy, and that the same may work a moment later.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
    OSError,
    TimeoutError,
)


class PostgresDatabase:
    """A service's schema on a PostgreSQL server; see ``millpond.stream.database.Database``."""

    def __init__(self, pool: asyncpg.Pool, schema: str) -> None:
        self._pool = pool
        self.schema = schema
        self._channel = f"outbox_{schema}"

    @property
    def pool(self) -> asyncpg.Pool:
        return self._pool

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[PostgresTransaction]:
        async with self._connection() as connection, connection.transaction():
            if patient:
                for name in TIMEOUTS:
                    await connection.execute(f"SET LOCAL {name} = 0")
            yield PostgresTransaction(connection, self.schema)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except AWAY as cause:
            raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause

    async def announce(self) -> None:
        # A statement of its own: inside the transaction NOTIFY takes a lock of the whole server at commit.
        async with self._connection() as connection:
            # Nor need it wait for the disk: what it announces is safe already, and the relay looks by itself, too.
            await connection.execute(
                "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')", self._channel
            )

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]:
        async with self._connection() as connection:
            topics, partitions = [p.topic for p in places], [p.partition for p in places]
            await connection.execute(
                """
                INSERT INTO positions SELECT topic, partition, 0, '', '{}'
                FROM unnest($1::text[], $2::int[]) AS p(topic, partition) ON CONFLICT DO NOTHING
                """,
                topics,
                partitions,
            )
            rows = await connection.fetch(
                "SELECT * FROM positions JOIN unnest($1::text[], $2::int[]) AS p(topic, partition) USING (topic, partition)",
                topics,
                partitions,
            )
        return {
            Place(row["topic"], row["partition"]): Position(
                row["next_offset"], bytes(row["last_hash"]), json.loads(row["numbers"])
            )
            for row in rows
        }

    async def dead_letters_from(self, place: Place, offset: int) -> dict[int, DeadLetter]:
        async with self._connection() as connection:
            rows = await connection.fetch(
                "SELECT * FROM dead_letters WHERE topic = $1 AND partition = $2 AND record_offset >= $3", *place, offset
            )
        return {row["record_offset"]: dead_letter_from(row) for row in rows}

    async def timers_due(self, now_ms: int) -> list[Place]:
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT DISTINCT topic, partition FROM timers WHERE at_ms <= $1", now_ms)
        return [Place(row["topic"], row["partition"]) for row in rows]

    async def outbox_end(self) -> int:
        async with self._connection() as connection:
            # The mark counts too: published rows may have been pruned.
            return int(
                await connection.fetchval(
                    "SELECT greatest((SELECT max(number) FROM outbox), (SELECT number FROM relay_mark))"
                )
            )

    async def outbox_after(self, number: int, rows_max: int) -> list[NumberedRow]:
        async with self._connection() as connection:
            rows = await connection.fetch(
                """
                SELECT number, topic, partition, key, value, event_type, time_ms, headers
                FROM outbox WHERE number > $1 ORDER BY number LIMIT $2
                """,
                number,
                rows_max,
            )
        return [NumberedRow(row[0], OutboxRow(*row[1:])) for row in map(tuple, rows)]

    async def outbox_depth(self) -> tuple[int, float]:
        """How many rows wait to be published, and for how many seconds the first of them."""
        async with self._connection() as connection:
            row = await connection.fetchrow(
                """
                SELECT count(*) AS depth, coalesce(extract(epoch FROM now() - min(written_at)), 0)::float8 AS age_s
                FROM outbox WHERE number > (SELECT number FROM relay_mark)
                """
            )
        assert row is not None
        return row["depth"], max(0.0, row["age_s"])

    async def relay_progress(self) -> dict[Place, RelayProgress]:
        async with self._connection() as connection:
            rows = await connection.fetch("SELECT * FROM relay_progress")
        return {Place(r["topic"], r["partition"]): RelayProgress(r["next_offset"], r["last_number"]) for r in rows}

    async def mark_published(self, lease: Lease, progress: Mapping[Place, RelayProgress], up_to: int) -> None:
        async with self.transaction() as transaction:
            await transaction.hold_lease(lease)
            # Not waiting for the disk: a mark that is lost is found again on the log.
            await transaction.connection.execute("SET LOCAL synchronous_commit TO off")
            await transaction.connection.executemany(
                """
                INSERT INTO relay_progress VALUES ($1, $2, $3, $4) ON CONFLICT (topic, partition)
                DO UPDATE SET next_offset = excluded.next_offset, last_number = excluded.last_number
                """,
                [(*place, at.next_offset, at.last_number) for place, at in progress.items()],
            )
            await transaction.connection.execute("UPDATE relay_mark SET number = greatest(number, $1)", up_to)

    async def published_up_to(self) -> int:
        async with self._connection() as connection:
            return int(await connection.fetchval("SELECT number FROM relay_mark"))

    async def try_lease(self, name: str, owner: str, expires_after_s: float) -> Lease | None:
        async with self.transaction() as transaction:
            connection = transaction.connection
            await connection.execute("INSERT INTO leases VALUES ($1, 0, '') ON CONFLICT DO NOTHING", name)
            await connection.execute(
                "INSERT INTO lease_renewals VALUES ($1, 0, '-infinity') ON CONFLICT DO NOTHING", name
            )
            epoch = await connection.fetchval(
                "SELECT epoch FROM lease_renewals WHERE name = $1 AND renewed_at < clock_timestamp() - make_interval(secs => $2)",
                name,
                expires_after_s,
            )
            if epoch is None:
                return None
            # take over: waits for whoever still holds the row FOR SHARE; of two standbys one finds the epoch changed.
            taken = await connection.fetchval(
                "UPDATE leases SET epoch = epoch + 1, owner = $2 WHERE name = $1 AND epoch = $3 RETURNING epoch",
                name,
                owner,
                epoch,
            )
            if taken is None:
                return None
            await connection.execute(
                "UPDATE lease_renewals SET epoch = $2, renewed_at = clock_timestamp() WHERE name = $1", name, taken
            )
            return Lease(name, taken, owner)

    async def renew_lease(self, lease: Lease) -> None:
        if not await self._set_renewal(lease, "clock_timestamp()"):
            raise LeaseLost(name=lease.name, epoch=lease.epoch)

    async def release_lease(self, lease: Lease) -> None:
        await self._set_renewal(lease, "'-infinity'::timestamptz")

    async def _set_renewal(self, lease: Lease, at: str) -> bool:
        async with self._connection() as connection:
            return bool(
                await connection.fetchval(
                    f"UPDATE lease_renewals SET renewed_at = {at} WHERE name = $1 AND epoch = $2 RETURNING true",  # noqa: S608 (two constants)
                    lease.name,
                    lease.epoch,
                )
            )

    @asynccontextmanager
    async def listen(self, on_announcement: Callable[[], None]) -> AsyncIterator[None]:
        """Calls ``on_announcement`` at each ``announce`` of any process, until left."""

        def announced(*_: object) -> None:
            on_announcement()

        async with self._connection() as connection:
            await connection.add_listener(self._channel, announced)
            try:
                yield
            finally:
                if not connection.is_closed():
                    await connection.remove_listener(self._channel, announced)

    async def close(self) -> None:
        await self._pool.close()


async def open_database(
    dsn: str, schema: str, *, service_schema: str = "", connections_max: int = 6
) -> PostgresDatabase:
    """Connects, and brings the schema up to date: the library's tables, then the service's own (idempotent SQL).

    Raises ``DatabaseAway``.
    """
    settings = {
        "search_path": schema,
        "application_name": f"millpond-{schema}",
        **{name: str(value) for name, value in TIMEOUTS.items()},
    }
    try:
        pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=connections_max, server_settings=settings, reset=_left_clean
        )
    except AWAY as cause:
        raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause
    database = PostgresDatabase(pool, schema)
    async with database.transaction() as transaction:
        connection = transaction.connection
        # Several instances start at once; each statement is idempotent but CREATE races with CREATE.
        await connection.execute("SELECT pg_advisory_xact_lock($1, 0)", lock_id(schema + "/schema"))
        # Asked first: a role of its own may not create schemas, and need not (``millpond database apply`` has made it).
        if not await connection.fetchval("SELECT to_regnamespace($1) IS NOT NULL", f'"{schema}"'):
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        await connection.execute(files("millpond.stream.postgres").joinpath("schema.sql").read_text())
        if service_schema:
            await connection.execute(service_schema)
    return database


async def _left_clean(_connection: asyncpg.Connection) -> None:
    """Nothing here outlives its transaction, so the round trip of asyncpg's own reset is spared."""
