"""The machine's memory: numbers that are never used twice, and what the pool has not acknowledged yet.

Writes wait for the disk (some milliseconds, in the event loop): what is sent was on the disk before.
"""

from __future__ import annotations

import fcntl
import hashlib
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from millpond.events.agent_claims import DeviceClaim
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.identity import DeviceKey
from millpond_agent.errors import AlreadyRunning, DirectoryUnusable, SessionUnreadable, SessionUnwritable

SCHEMA: Final = Path(__file__).with_name("schema.sql").read_text()
FILE: Final = "session.sqlite3"
# Numbers taken at once, so that a heartbeat costs no write.
BLOCK: Final = 1_000
# Claims read from the disk at once.
CLAIMS_MAX: Final = 500
# Longer than any lease or dispute window: after that nobody asks.
KEPT_MS: Final = 100 * 24 * 3_600 * 1_000

Outcome = Literal["succeeded", "failed", "declined", "cancelled"]


@dataclass(frozen=True)
class SignedClaim:
    """As it travels: ``payload`` is the very text that was signed."""

    sequence: int
    type: str
    payload: str
    signature: str


@dataclass(frozen=True)
class Figures:
    """``earned_wei`` and ``held_wei`` are gross: before the pool's commission and split, rounded down."""

    done: int
    failed: int
    pixels: int
    receipts: int
    earned_wei: int
    held_wei: int


class Session:
    """Opened by one process at a time. Raises ``SessionUnwritable`` from whatever writes."""

    def __init__(self, directory: Path, key: DeviceKey, pool: str) -> None:
        """Raises ``AlreadyRunning``, ``DirectoryUnusable`` or ``SessionUnreadable``."""
        self._key = key
        self._pool = pool
        self._path = directory / FILE
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = (directory / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(directory=directory) from None
        except OSError as error:
            raise DirectoryUnusable(directory=directory, problem=error.strerror) from error
        try:
            self._database = _opened(self._path)
            self.id, self._reserved = self._database.execute("SELECT id, reserved FROM session").fetchone()
        except sqlite3.Error as error:
            self._lock.close()
            raise SessionUnreadable(path=self._path, problem=error) from error
        self._sequence = self._reserved
        rows = self._database.execute("SELECT sequence FROM claims WHERE acknowledged = 0")
        self._unacknowledged = {sequence for (sequence,) in rows}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        self._lock.close()

    def sign(self, kind: type[DeviceClaim[Any]], **fields: Any) -> SignedClaim:
        """A claim that may get lost; its number is used up."""
        if self._sequence >= self._reserved:
            with self._written():
                self._database.execute("UPDATE session SET reserved = ?", (self._reserved + BLOCK,))
            self._reserved += BLOCK
        self._sequence += 1
        claim = kind.claim_type(session=self.id, sequence=self._sequence, time=_now(), **fields)
        payload = claim.model_dump_json()
        signature = self._key.sign(pool=self._pool, kind=kind.type_name, text=payload)
        return SignedClaim(self._sequence, kind.type_name, payload, signature)

    def record(self, kind: type[DeviceClaim[Any]], **fields: Any) -> None:
        """A claim that reaches the pool, whatever is killed in between."""
        claim = self.sign(kind, **fields)
        with self._written():
            self._insert(claim)

    def record_end(self, kind: type[DeviceClaim[Any]], *, pixels: int = 0, outcome: Outcome, **fields: Any) -> None:
        """The same, and its lease's attempt has ended, in one write."""
        claim = self.sign(kind, **fields)
        with self._written():
            self._end(fields["lease"], outcome, pixels)
            self._insert(claim)

    def record_cancelled(self, lease: str) -> None:
        """The attempt has ended, and the pool knows it already."""
        with self._written():
            self._end(lease, "cancelled", 0)

    @property
    def was_used(self) -> bool:
        """Whether a pool has let this machine in before: nothing is signed without a connection."""
        return bool(self._sequence > 0)

    @property
    def is_acknowledged(self) -> bool:
        """Whether the pool has all that it must have."""
        return not self._unacknowledged

    def has_ended(self, lease: str) -> bool:
        return self._database.execute("SELECT 1 FROM ended WHERE lease = ?", (lease,)).fetchone() is not None

    def unacknowledged(self, behind: int = 0) -> list[SignedClaim]:
        """In the order of their numbers, those above ``behind``; a part of them if they are many."""
        rows = self._database.execute(
            "SELECT sequence, type, payload, signature FROM claims WHERE acknowledged = 0 AND sequence > ?"
            " ORDER BY sequence LIMIT ?",
            (behind, CLAIMS_MAX),
        )
        return [SignedClaim(*row) for row in rows]

    def acknowledge(self, sequence: int) -> None:
        """The pool has it. A success is kept for its receipt; of claims that may get lost nothing is known here."""
        if sequence in self._unacknowledged:
            with self._written():
                self._database.execute("UPDATE claims SET acknowledged = 1 WHERE sequence = ?", (sequence,))
                self._database.execute("DELETE FROM claims WHERE sequence = ? AND type <> 'JobSucceeded'", (sequence,))
            self._unacknowledged.discard(sequence)

    def drop(self, sequence: int) -> None:
        """The pool will never take it: it is not sent again."""
        if sequence in self._unacknowledged:
            with self._written():
                self._database.execute("DELETE FROM claims WHERE sequence = ?", (sequence,))
            self._unacknowledged.discard(sequence)

    def claim_of(self, payload_hash: str) -> SignedClaim | None:
        """This device's own success whose text has that SHA-256."""
        row = self._database.execute(
            "SELECT sequence, type, payload, signature FROM claims WHERE payload_hash = ?", (payload_hash,)
        ).fetchone()
        return None if row is None else SignedClaim(*row)

    def record_receipt(self, line: UsageRecorded | UsageHeld) -> None:
        """Counted once, however often it comes; the claim that it is about needs no keeping any more."""
        row = (line.line, isinstance(line, UsageHeld), line.quantity, str(line.price.wei), line.price.per_units)
        with self._written():
            self._database.execute("INSERT OR IGNORE INTO receipts VALUES (?, ?, ?, ?, ?)", row)
            self._database.execute("DELETE FROM claims WHERE payload_hash = ? AND acknowledged = 1", (line.result,))

    def figures(self, since: datetime) -> Figures:
        """As ``read_figures``."""
        return read_figures(self._database, since)

    def _insert(self, claim: SignedClaim) -> None:
        payload_hash = "0x" + hashlib.sha256(claim.payload.encode()).hexdigest()
        self._database.execute(
            "INSERT INTO claims (sequence, type, payload, payload_hash, signature, recorded_ms) VALUES (?, ?, ?, ?, ?, ?)",
            (claim.sequence, claim.type, claim.payload, payload_hash, claim.signature, _ms(_now())),
        )
        self._unacknowledged.add(claim.sequence)

    def _end(self, lease: str, outcome: Outcome, pixels: int) -> None:
        self._database.execute("INSERT OR IGNORE INTO ended VALUES (?, ?, ?, ?)", (lease, outcome, pixels, _ms(_now())))

    @contextmanager
    def _written(self) -> Iterator[None]:
        try:
            with self._database:
                yield
        except sqlite3.Error as error:
            raise SessionUnwritable(path=self._path, problem=error) from error


def read_figures(database: sqlite3.Connection, since: datetime) -> Figures:
    """Jobs since then; receipts of all time."""
    outcomes = dict(
        database.execute(
            "SELECT outcome, count(*) FROM ended WHERE ended_ms >= ? GROUP BY outcome", (_ms(since),)
        ).fetchall()
    )
    (pixels,) = database.execute(
        "SELECT coalesce(sum(pixels), 0) FROM ended WHERE ended_ms >= ?", (_ms(since),)
    ).fetchone()
    worth = {True: Fraction(0), False: Fraction(0)}
    receipts = 0
    for held, wei, per_units, quantity, lines in database.execute(
        "SELECT held, wei, per_units, sum(quantity), count(*) FROM receipts GROUP BY held, wei, per_units"
    ):
        worth[bool(held)] += Fraction(int(wei) * quantity, per_units)
        receipts += lines
    return Figures(
        done=outcomes.get("succeeded", 0),
        failed=outcomes.get("failed", 0),
        pixels=pixels,
        receipts=receipts,
        earned_wei=int(worth[False]),
        held_wei=int(worth[True]),
    )


def _opened(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path)
    path.chmod(0o600)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    with database:
        database.executescript(SCHEMA)
        database.execute("INSERT OR IGNORE INTO session VALUES (1, ?, 0)", (str(uuid.uuid4()),))
        database.execute("DELETE FROM claims WHERE acknowledged = 1 AND recorded_ms < ?", (_ms(_now()) - KEPT_MS,))
        database.execute("DELETE FROM ended WHERE ended_ms < ?", (_ms(_now()) - KEPT_MS,))
    return database


def _now() -> datetime:
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _ms(time: datetime) -> int:
    return int(time.timestamp() * 1000)
