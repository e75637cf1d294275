"""A service's database in memory: the same promises within one process, none beyond it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from millpond.stream.database import (
    DeadLetter,
    Item,
    ItemVerdict,
    Lease,
    LeaseLost,
    Move,
    NumberedRow,
    OutboxRow,
    PositionMoved,
    RelayProgress,
    judge_items,
)
from millpond.stream.decision import Timer
from millpond.stream.position import Position
from millpond.stream.record import Place


@dataclass
class _Tables:
    """What a transaction changes a copy of. ``state`` is the service's own."""

    positions: dict[Place, Position] = field(default_factory=dict)
    outbox: list[NumberedRow] = field(default_factory=list)
    progress: dict[Place, RelayProgress] = field(default_factory=dict)
    written_at_s: dict[int, float] = field(default_factory=dict)
    published_up_to: int = 0
    timers: dict[tuple[Place, str], int] = field(default_factory=dict)
    clocks: dict[Place, int] = field(default_factory=dict)
    items: dict[tuple[str, str], bytes] = field(default_factory=dict)
    letters: dict[tuple[Place, int], DeadLetter] = field(default_factory=dict)
    nonces: dict[tuple[str, str, str], int] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)

    def copy(self) -> _Tables:
        # Rows are frozen, so one level is enough; a service's own state may be anything.
        copied = _Tables(**{name: copy.copy(table) for name, table in vars(self).items()})
        copied.state = copy.deepcopy(self.state)
        return copied


# Name to epoch, owner and last renewal.
_Leases = dict[str, tuple[int, str, float]]


class MemoryTransaction:
    """See ``millpond.stream.database.Transaction``; ``connection`` is the dictionary of the service's own state."""

    def __init__(self, tables: _Tables, leases: _Leases, began_at_s: float) -> None:
        self._tables = tables
        self._leases = leases
        self._began_at_s = began_at_s

    @property
    def connection(self) -> dict[str, Any]:
        return self._tables.state

    async def hold_lease(self, lease: Lease) -> None:
        _check(self._leases, lease)

    async def advance(self, moves: Sequence[Move]) -> None:
        for move in moves:
            stored = self._tables.positions.get(move.place)
            if stored is None or stored.next_offset != move.before.next_offset:
                raise PositionMoved(place=move.place, expected=move.before.next_offset)
            self._tables.positions[move.place] = move.after

    async def lock(self, keys: Iterable[str]) -> None:
        return  # transactions run one after the other anyway

    async def admit(self, items: Sequence[Item]) -> list[ItemVerdict]:
        new = set()
        for item in items:
            identity = (item.topic, item.identity)
            if identity not in self._tables.items:
                new.add(identity)
                self._tables.items[identity] = item.content_hash
        return judge_items(items, new=new, hashes=self._tables.items)

    async def still_here(self) -> None:
        return  # nobody ends it

    async def take_timers(self, scope: Place, now_ms: int) -> tuple[int, list[str]]:
        due = sorted(
            (at_ms, name) for (place, name), at_ms in self._tables.timers.items() if place == scope and at_ms <= now_ms
        )
        if not due:
            return now_ms, []
        for _, name in due:
            del self._tables.timers[scope, name]
        as_of_ms = self._tables.clocks[scope] = max(now_ms, self._tables.clocks.get(scope, now_ms))
        return as_of_ms, [name for _, name in due]

    async def set_timers(self, scope: Place, timers: Sequence[Timer]) -> None:
        for timer in timers:
            self._tables.timers.pop((scope, timer.name), None)
            if timer.at_ms is not None:
                self._tables.timers[scope, timer.name] = timer.at_ms

    async def put_dead_letters(self, letters: Sequence[DeadLetter]) -> list[bool]:
        new = []
        for letter in letters:
            known = self._tables.letters.get((letter.place, letter.offset))
            new.append(known is None or known.state != letter.state)
            if new[-1]:
                self._tables.letters[letter.place, letter.offset] = letter
        return new

    async def find_dead_letter(self, place: Place, offset: int) -> DeadLetter | None:
        return self._tables.letters.get((place, offset))

    async def last_nonce(self, signer: str, topic: str, key: str) -> int | None:
        return self._tables.nonces.get((signer, topic, key))

    async def put_nonce(self, signer: str, topic: str, key: str, nonce: int) -> None:
        self._tables.nonces[signer, topic, key] = nonce

    async def put_outbox(self, rows: Sequence[OutboxRow]) -> None:
        first = (self._tables.outbox[-1].number if self._tables.outbox else 0) + 1
        self._tables.outbox += [NumberedRow(first + n, row) for n, row in enumerate(rows)]
        self._tables.written_at_s |= {first + n: self._began_at_s for n in range(len(rows))}


class MemoryDatabase:
    """See ``millpond.stream.database.Database``. ``now_s`` is the clock of its leases and of what waits in its outbox."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._tables = _Tables()
        self._leases: _Leases = {}
        self._now_s = now_s
        self._lock = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[MemoryTransaction]:
        async with self._lock:
            # Others go on reading what is committed.
            changed = self._tables.copy()
            yield MemoryTransaction(changed, self._leases, self._now_s())
            self._tables = changed

    async def announce(self) -> None:
        for listener in self._listeners:
            listener()

    @asynccontextmanager
    async def listen(self, on_announcement: Callable[[], None]) -> AsyncIterator[None]:
        self._listeners.append(on_announcement)
        try:
            yield
        finally:
            self._listeners.remove(on_announcement)

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]:
        async with self._lock:
            return {place: self._tables.positions.setdefault(place, Position()) for place in places}

    async def dead_letters_from(self, place: Place, offset: int) -> dict[int, DeadLetter]:
        return {at: letter for (of, at), letter in self._tables.letters.items() if of == place and at >= offset}

    async def timers_due(self, now_ms: int) -> list[Place]:
        return list({place: None for (place, _), at_ms in self._tables.timers.items() if at_ms <= now_ms})

    async def outbox_end(self) -> int:
        return max(self._tables.published_up_to, self._tables.outbox[-1].number if self._tables.outbox else 0)

    async def outbox_depth(self) -> tuple[int, float]:
        waiting = [row for row in self._tables.outbox if row.number > self._tables.published_up_to]
        return len(waiting), 0.0 if not waiting else self._now_s() - self._tables.written_at_s[waiting[0].number]

    async def outbox_after(self, number: int, rows_max: int) -> list[NumberedRow]:
        return [row for row in self._tables.outbox if row.number > number][:rows_max]

    async def relay_progress(self) -> dict[Place, RelayProgress]:
        return dict(self._tables.progress)

    async def mark_published(self, lease: Lease, progress: Mapping[Place, RelayProgress], up_to: int) -> None:
        async with self._lock:
            _check(self._leases, lease)
            self._tables.progress.update(progress)
            self._tables.published_up_to = max(self._tables.published_up_to, up_to)

    async def published_up_to(self) -> int:
        return self._tables.published_up_to

    async def try_lease(self, name: str, owner: str, expires_after_s: float) -> Lease | None:
        epoch, _, renewed_at_s = self._leases.get(name, (0, "", float("-inf")))
        if renewed_at_s >= self._now_s() - expires_after_s:
            return None
        # A takeover waits for the holder's transaction, and of two that waited one is too late.
        async with self._lock:
            if self._leases.get(name, (0, "", 0.0))[0] != epoch:
                return None
            self._leases[name] = (epoch + 1, owner, self._now_s())
        return Lease(name, epoch + 1, owner)

    async def renew_lease(self, lease: Lease) -> None:
        _check(self._leases, lease)
        self._leases[lease.name] = (lease.epoch, lease.owner, self._now_s())

    async def release_lease(self, lease: Lease) -> None:
        epoch, owner, _ = self._leases.get(lease.name, (0, "", 0.0))
        if epoch == lease.epoch:
            self._leases[lease.name] = (epoch, owner, float("-inf"))


def _check(leases: _Leases, lease: Lease) -> None:
    if leases.get(lease.name, (0, "", 0.0))[:2] != (lease.epoch, lease.owner):
        raise LeaseLost(name=lease.name, epoch=lease.epoch)
