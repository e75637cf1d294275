"""Codes and sessions, in edge's own tables: they outlive an instance, and all instances know them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import asyncpg

from millpond.stream.database import DatabaseAway
from millpond.stream.postgres.database import AWAY

# What has expired is still told as expired for so long.
KEPT_MS = 3_600_000


def schema() -> str:
    """Idempotent SQL for edge's schema."""
    return files(__package__).joinpath("schema.sql").read_text()


@dataclass(frozen=True, slots=True)
class StoredEnrolment:
    """A code and the machine behind it. ``delegation`` (JSON) and ``contributor`` once the wallet has signed."""

    device: str
    code: str
    expires_at_ms: int
    contributor: str | None
    delegation: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in that was signed: it says who looks, and is told to the topic when he delegates."""

    nonce: str
    contributor: str
    text: str
    expires_at_ms: int
    signature: str


class JoiningStore:
    """Each method is one statement, and raises ``DatabaseAway``. Times are edge's, in Unix milliseconds."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def enrol(self, device: str, code: str, *, expires_at_ms: int, now_ms: int) -> None:
        await self._execute("DELETE FROM enrolments WHERE expires_at_ms < $1", now_ms - KEPT_MS)
        # 38 bits of chance: a code that is open already would be an error, and the machine asks again.
        await self._execute(
            """
            INSERT INTO enrolments (device, code, expires_at_ms) VALUES ($1, $2, $3) ON CONFLICT (device)
            DO UPDATE SET code = $2, expires_at_ms = $3, contributor = NULL, delegation = NULL
            """,
            device,
            code,
            expires_at_ms,
        )

    async def enrolment(self, code: str) -> StoredEnrolment | None:
        row = await self._row(
            "SELECT device, code, expires_at_ms, contributor, delegation FROM enrolments WHERE code = $1", code
        )
        return None if row is None else StoredEnrolment(*row)

    async def delegate(self, code: str, *, contributor: str, delegation: str, now_ms: int) -> bool:
        """Whether the code was open: of two who use it the first counts."""
        return None is not await self._row(
            """
            UPDATE enrolments SET contributor = $2, delegation = $3
            WHERE code = $1 AND delegation IS NULL AND expires_at_ms > $4 RETURNING 1
            """,
            code,
            contributor,
            delegation,
            now_ms,
        )

    async def offer(self, nonce: str, *, contributor: str, text: str, expires_at_ms: int, now_ms: int) -> None:
        await self._execute("DELETE FROM sign_ins WHERE expires_at_ms < $1", now_ms - KEPT_MS)
        await self._execute(
            "INSERT INTO sign_ins (nonce, contributor, text, expires_at_ms) VALUES ($1, $2, $3, $4)",
            nonce,
            contributor,
            text,
            expires_at_ms,
        )

    async def offered(self, nonce: str, now_ms: int) -> tuple[str, str] | None:
        """Contributor and text of a sign-in that is not yet signed, and not expired."""
        row = await self._row(
            "SELECT contributor, text FROM sign_ins WHERE nonce = $1 AND signature IS NULL AND expires_at_ms > $2",
            nonce,
            now_ms,
        )
        return None if row is None else (row[0], row[1])

    async def sign_in(self, nonce: str, *, signature: str, token_hash: bytes, expires_at_ms: int, now_ms: int) -> bool:
        """Whether the nonce was still open: it makes one session."""
        return None is not await self._row(
            """
            UPDATE sign_ins SET signature = $2, token_hash = $3, expires_at_ms = $4
            WHERE nonce = $1 AND signature IS NULL AND expires_at_ms > $5 RETURNING 1
            """,
            nonce,
            signature,
            token_hash,
            expires_at_ms,
            now_ms,
        )

    async def session(self, token_hash: bytes, now_ms: int) -> Session | None:
        row = await self._row(
            """
            SELECT nonce, contributor, text, expires_at_ms, signature FROM sign_ins
            WHERE token_hash = $1 AND expires_at_ms > $2
            """,
            token_hash,
            now_ms,
        )
        return None if row is None else Session(*row)

    async def is_signed_in(self, nonce: str, now_ms: int) -> bool:
        """Whether that session still counts."""
        return None is not await self._row(
            "SELECT 1 FROM sign_ins WHERE nonce = $1 AND token_hash IS NOT NULL AND expires_at_ms > $2", nonce, now_ms
        )

    async def sign_out(self, nonce: str) -> None:
        await self._execute("DELETE FROM sign_ins WHERE nonce = $1", nonce)

    async def _row(self, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        async with self._connection() as connection:
            row = await connection.fetchrow(statement, *arguments)
        return None if row is None else tuple(row)

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self._connection() as connection:
            await connection.execute(statement, *arguments)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection]:
        try:
            async with self._pool.acquire() as connection:
                yield connection
        except AWAY as cause:
            raise DatabaseAway(cause=f"{type(cause).__name__}: {cause}") from cause
