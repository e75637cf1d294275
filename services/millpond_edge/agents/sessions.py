"""How far the pool has each session: the highest number up to which Kafka has all that had to arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.resources import files
from typing import Final

import asyncpg
import structlog

from millpond.stream.database import DatabaseAway
from millpond.stream.patience import pause
from millpond.stream.postgres.database import AWAY

# What a killed edge may have told agents and not its table.
SAVE_EVERY_S: Final = 1.0
# Longer, and an agent greets an edge that seems dead: it is welcome without the number.
LOAD_S_MAX: Final = 2.0
# A session that was silent for so long begins at 0: it sends what it still has, and nothing is counted twice.
KEPT: Final = timedelta(days=100)

SessionName = tuple[str, str]
log = structlog.get_logger(__name__)


def schema() -> str:
    """Idempotent SQL for edge's schema."""
    return files(__package__).joinpath("schema.sql").read_text()


class Sessions:
    """In the database, written behind; a database that is away makes the numbers older, and stops nobody's work."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._unsaved: dict[SessionName, int] = {}

    async def last_accepted(self, device: str, session: str) -> int:
        """0 if nothing is known."""
        try:
            async with asyncio.timeout(LOAD_S_MAX):
                saved = await self._load(device, session)
        except (DatabaseAway, TimeoutError) as away:
            log.warning("session_unknown", device=device, cause=str(away) or "no answer")
            saved = 0
        return max(saved, self._unsaved.get((device, session), 0))

    def accepted(self, device: str, session: str, sequence: int) -> None:
        """Everything up to ``sequence`` is on Kafka, or was refused for ever."""
        name = device, session
        self._unsaved[name] = max(sequence, self._unsaved.get(name, 0))

    async def keep(self, stopping: asyncio.Event) -> None:
        """Saves until ``stopping`` is set, and once more then."""
        try:
            await self._forget_old()
        except DatabaseAway as away:
            log.warning("away", cause=str(away))
        while not stopping.is_set():
            await pause(SAVE_EVERY_S, stopping)
            await self.save()

    async def save(self) -> None:
        """Tries; what could not be saved is tried again with the next."""
        unsaved, self._unsaved = self._unsaved, {}
        if not unsaved:
            return
        try:
            await self._save(unsaved)
        except DatabaseAway as away:
            log.warning("away", cause=str(away))
            for (device, session), sequence in unsaved.items():
                self.accepted(device, session, sequence)

    async def _load(self, device: str, session: str) -> int:
        async with self._connection() as connection:
            found = await connection.fetchval(
                "SELECT last_accepted FROM agent_sessions WHERE device = $1 AND session = $2", device, session
            )
        return found or 0

    async def _save(self, unsaved: Mapping[SessionName, int]) -> None:
        devices, sessions = zip(*unsaved, strict=True)
        async with self._connection() as connection:
            # Two instances may know the same session: the higher number is true. In one order, so that they don't deadlock.
            await connection.execute(
                """
                INSERT INTO agent_sessions (device, session, last_accepted)
                SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[]) ORDER BY 1, 2
                ON CONFLICT (device, session) DO UPDATE
                SET last_accepted = greatest(agent_sessions.last_accepted, excluded.last_accepted), accepted_at = now()
                """,
                devices,
                sessions,
                list(unsaved.values()),
            )

    async def _forget_old(self) -> None:
        async with self._connection() as connection:
            await connection.execute("DELETE FROM agent_sessions WHERE accepted_at < now() - $1::interval", KEPT)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except AWAY as cause:
            raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause
