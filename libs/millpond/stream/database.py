"""The port to a service's database: positions, leases, timers, items, dead letters and the outbox, in one transaction.

``PostgresDatabase`` is the real one; ``MemoryDatabase`` runs the same rules in unit tests and the simulator. One contract
suite (``tests/stream/database_contract.py``) runs against both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from millpond.errors import MillpondError
from millpond.stream.decision import Timer
from millpond.stream.position import Position
from millpond.stream.record import Place

# The scope of timers of a single-active service, which reads everything; a grouped one's timers belong to a partition.
WHOLE_SERVICE = Place("*", -1)

DeadLetterState = Literal["aside", "stopped", "skipped", "readmitted", "resumed"]


class LeaseLost(MillpondError):
    """The lease {name} (epoch {epoch}) is held by another process now. Nothing was applied."""


class PositionMoved(MillpondError):
    """{place} is no longer at offset {expected}: another process owns it. The batch was forgotten, nothing was applied."""


class DatabaseAway(MillpondError):
    """The database doesn't answer: {cause}. The service waits, and goes on when it is back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to be the one active process: a row with an epoch, checked in every transaction."""

    name: str
    epoch: int
    owner: str


@dataclass(frozen=True, slots=True)
class Move:
    """One position's step within a transaction."""

    place: Place
    before: Position
    after: Position


class Item(NamedTuple):
    """What a source observed: its identity (device, session, sequence ...) and the hash of its bytes."""

    topic: str
    identity: str
    content_hash: bytes


ItemVerdict = Literal["first", "duplicate", "conflict"]


def judge_items(
    items: Sequence[Item], *, new: set[tuple[str, str]], hashes: Mapping[tuple[str, str], bytes]
) -> list[ItemVerdict]:
    """The first with an identity counts; the same bytes again are a duplicate, other bytes a conflict (STREAM 4).

    ``new``: the identities never seen before this batch. ``hashes``: of all identities, the bytes that count.
    """
    unseen, verdicts = set(new), list[ItemVerdict]()
    for item in items:
        identity = (item.topic, item.identity)
        if identity in unseen:
            unseen.remove(identity)
            verdicts.append("first")
        else:
            verdicts.append("duplicate" if hashes[identity] == item.content_hash else "conflict")
    return verdicts


class OutboxRow(NamedTuple):
    """A record to be published. Its number is given by the database; ``headers`` is JSON, without outbox and ``ce_id``."""

    topic: str
    partition: int
    key: bytes
    value: bytes
    event_type: str
    time_ms: int
    headers: str


class NumberedRow(NamedTuple):
    """An outbox row with the number that the database gave it."""

    number: int
    row: OutboxRow


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be decided, verbatim, with the reason. Its place is where it stood."""

    place: Place
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int
    content_hash: bytes
    reason: str
    state: DeadLetterState


@dataclass(frozen=True, slots=True)
class RelayProgress:
    """What the relay knows is on a partition: the offset after its last acknowledgement, and the number there."""

    next_offset: int
    last_number: int


class Transaction(Protocol):
    """One all-or-nothing step. The methods stand in the order in which they are called (STREAM 6)."""

    @property
    def connection(self) -> object:
        """What a service's own store reads and writes through: an ``asyncpg.Connection``, or the memory of a test."""
        ...

    async def hold_lease(self, lease: Lease) -> None:
        """Keeps the lease from changing hands until the end. Raises ``LeaseLost``."""
        ...

    async def advance(self, moves: Sequence[Move]) -> None:
        """Takes the batches if nobody moved the positions since they were read. Raises ``PositionMoved``."""
        ...

    async def lock(self, keys: Iterable[str]) -> None:
        """Makes everybody else who locks one of these keys wait until the end; also keys that don't exist yet."""
        ...

    async def admit(self, items: Sequence[Item]) -> list[ItemVerdict]:
        """Remembers each item for ever, and says in the same order which are seen for the first time."""
        ...

    async def still_here(self) -> None:
        """Says that we work and are not frozen, so that the server doesn't end the transaction."""
        ...

    async def take_timers(self, scope: Place, now_ms: int) -> tuple[int, list[str]]:
        """Takes what is due in ``scope``: the tick's time (never before an earlier tick's) and the names, in order."""
        ...

    async def set_timers(self, scope: Place, timers: Sequence[Timer]) -> None: ...

    async def put_dead_letters(self, letters: Sequence[DeadLetter]) -> list[bool]:
        """Keeps each once; says in the same order which are new, or in another state than before."""
        ...

    async def find_dead_letter(self, place: Place, offset: int) -> DeadLetter | None: ...

    async def last_nonce(self, signer: str, topic: str, key: str) -> int | None:
        """The highest nonce that was accepted from this signer on that topic and key."""
        ...

    async def put_nonce(self, signer: str, topic: str, key: str, nonce: int) -> None: ...

    async def put_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Appends to the outbox, last of all: the numbers it gives are in commit order."""
        ...


class Database(Protocol):
    """A service's own database."""

    def transaction(self, *, patient: bool = False) -> AbstractAsyncContextManager[Transaction]:
        """Commits on leaving, rolls back on any exception. Raises ``DatabaseAway`` when it isn't there.

        ``patient``: without the server's time limits, to read a whole state; it must hold nothing that others wait for.
        """
        ...

    async def announce(self) -> None:
        """Tells the relay, after a commit, that there is something to publish."""
        ...

    def listen(self, on_announcement: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Calls back at each ``announce`` of any process, until left."""
        ...

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]:
        """Where each place is; those never read are at the start."""
        ...

    async def dead_letters_from(self, place: Place, offset: int) -> dict[int, DeadLetter]:
        """The records of a place, from ``offset`` on, that were stopped at or skipped."""
        ...

    async def timers_due(self, now_ms: int) -> list[Place]:
        """The scopes in which a timer is due."""
        ...

    async def outbox_end(self) -> int:
        """The highest number ever given, 0 before the first."""
        ...

    async def outbox_depth(self) -> tuple[int, float]:
        """How many rows wait to be published, and for how many seconds the first of them, from when it was written."""
        ...

    async def outbox_after(self, number: int, rows_max: int) -> list[NumberedRow]: ...

    async def relay_progress(self) -> dict[Place, RelayProgress]: ...

    async def mark_published(self, lease: Lease, progress: Mapping[Place, RelayProgress], up_to: int) -> None:
        """Remembers what was acknowledged: per partition, and that no number up to ``up_to`` is missing anywhere."""
        ...

    async def published_up_to(self) -> int: ...

    async def try_lease(self, name: str, owner: str, expires_after_s: float) -> Lease | None:
        """Takes the lease if its holder has not renewed it for that long, else None."""
        ...

    async def renew_lease(self, lease: Lease) -> None:
        """Raises ``LeaseLost``."""
        ...

    async def release_lease(self, lease: Lease) -> None:
        """Lets a standby take over at once."""
        ...
