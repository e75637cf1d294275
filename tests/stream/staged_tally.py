"""tally with a director: it dies, or waits, at a named point of its work. Nothing of this is in the product.

``STAGE_DIE=point:n`` kills the process, uncaught and unannounced, the n-th time that it comes to the point.
``STAGE_WAIT=point:file`` makes it wait there for as long as the file exists; it says ``reached`` in the file.
``STAGE_SESSION_MS`` shortens the group's session, so that a death is noticed sooner.
``STAGE_FORGETFUL`` remembers no items: then nothing but its position keeps a drop from being counted twice.

Each transaction that changes a bucket is signed with its process's id: who has committed is no matter of inference.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from millpond.stream.decision import Input, Received
from millpond.stream.kafka import feed
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.main import run_service
from millpond.stream.postgres.database import PostgresDatabase
from millpond.stream.postgres.transaction import PostgresTransaction
from millpond.stream.service import Service
from millpond.stream.transact import Transactor
from stream.tally import Buckets, BucketStore, Drop, drops_topic, tally

REACHED = "reached"


class Point(NamedTuple):
    """Just before or just after a method of the library."""

    owner: type
    method: str
    after: bool


POINTS = {
    "planned": Point(Transactor, "apply", False),
    "leased": Point(PostgresTransaction, "hold_lease", True),
    "moved": Point(PostgresTransaction, "advance", True),
    "locked": Point(PostgresTransaction, "lock", True),
    "decided": Point(PostgresTransaction, "put_outbox", True),
    "committed": Point(PostgresDatabase, "announce", False),
    "sent": Point(KafkaPublisher, "send", True),
    "acknowledged": Point(PostgresDatabase, "mark_published", False),
    "marked": Point(PostgresDatabase, "mark_published", True),
}


def by_bucket(received: Input) -> tuple[str, ...]:
    """State is kept by bucket, whatever the record's key is."""
    if isinstance(received, Received) and isinstance(received.event, Drop):
        return (received.event.bucket,)
    return ()


class SignedStore(BucketStore):
    """Buckets, and who has changed them."""

    schema = (
        BucketStore.schema
        + "; CREATE TABLE IF NOT EXISTS signatures (number bigint GENERATED ALWAYS AS IDENTITY, pid bigint NOT NULL)"
    )

    async def save(self, connection: asyncpg.Connection, before: Buckets, after: Buckets) -> None:
        await super().save(connection, before, after)
        await connection.execute("INSERT INTO signatures (pid) VALUES ($1)", os.getpid())


def staged_tally(name: str, shape: str = "grouped", *, forgetful: bool = False) -> Service[Buckets]:
    reads = (drops_topic(name, items_kept=not forgetful),)
    return tally(name, shape, reads=reads, keys=by_bucket, store=SignedStore())


def act_as_told(environment: dict[str, str]) -> None:
    """Puts the director's orders into the library, in this process only."""
    if "STAGE_SESSION_MS" in environment:
        session_ms = int(environment["STAGE_SESSION_MS"])
        feed.SESSION_MS, feed.HEARTBEAT_MS = session_ms, session_ms // 4
    if "STAGE_DIE" in environment:
        name, _, times = environment["STAGE_DIE"].partition(":")
        _at(POINTS[name], _Death(int(times)).come)
    if "STAGE_WAIT" in environment:
        name, _, file = environment["STAGE_WAIT"].partition(":")
        _at(POINTS[name], Pause(Path(file)).come)


class _Death:
    def __init__(self, times: int) -> None:
        self._left = times

    async def come(self) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Pause:
    """Waits for as long as the file exists, and says so in it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def come(self) -> None:
        if self._file.exists():
            self._file.write_text(REACHED)
        while self._file.exists():  # noqa: ASYNC110 (another process takes it away)
            await asyncio.sleep(0.01)


def _at(point: Point, act: Callable[[], Any]) -> None:
    original = getattr(point.owner, point.method)

    async def directed(*arguments: Any) -> Any:
        if not point.after:
            await act()
        answer = await original(*arguments)
        if point.after:
            await act()
        return answer

    setattr(point.owner, point.method, directed)


if __name__ == "__main__":
    act_as_told(dict(os.environ))
    forgetful = "STAGE_FORGETFUL" in os.environ
    sys.exit(
        run_service(lambda: staged_tally(os.environ["TALLY_NAME"], os.environ["TALLY_SHAPE"], forgetful=forgetful))
    )
