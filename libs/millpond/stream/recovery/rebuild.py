"""A lost database made anew from the topics: the service's own outputs are folded, never decided again (STREAM 14)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from millpond.errors import MillpondError
from millpond.events.deadletters import DeadLetterEvent
from millpond.stream.database import WHOLE_SERVICE, RelayProgress
from millpond.stream.decision import Fold, Received, State, Timer
from millpond.stream.log import Log
from millpond.stream.outlet import partition_of
from millpond.stream.plan import Poison, decode
from millpond.stream.postgres.database import PostgresDatabase
from millpond.stream.postgres.transaction import PostgresTransaction
from millpond.stream.record import Place
from millpond.stream.recovery.own_outputs import Published, published_in_order
from millpond.stream.recovery.rebuild_inputs import InputsRead, read_inputs
from millpond.stream.recovery.rebuild_letters import DONE_BY_COMMAND, letter_of
from millpond.stream.recovery.rebuild_tables import finish, is_empty, put_numbered, raise_clocks
from millpond.stream.service import Service
from millpond.stream.starting import output_places

# One transaction folds at most this much: the server ends one that takes longer than a second and a half.
FOLD_RECORDS_MAX = 500
FOLD_BYTES_MAX = 4 * 1_048_576

Told = Callable[[str, int], None]


class DatabaseNotEmpty(MillpondError):
    """The schema {schema} is not empty: a rebuild starts from nothing. Give it a new schema; the old one is kept."""


class NothingToFold(MillpondError):
    """{service} has no fold, so nothing says what its published events mean for its state. Restore a newer backup of
    its database, or run a version that has one."""


class OutputUnreadable(MillpondError):
    """{place} offset {offset} is {service}'s own, but this version can't read it: {sentence} Rebuild with the version
    that wrote it, or a newer one."""


class TransactionTorn(MillpondError):
    """{service} decided more at once than reached the log: {tears}. The database that held the rest is lost, and their
    inputs count as done. Restore a newer backup if there is one; else rebuild --anyway, and make good for them by hand."""


@dataclass(frozen=True)
class Tear:
    """A decision that was published in part: the numbers of what is there, first and last, and how many are missing."""

    first: int
    last: int
    missing: int

    def __str__(self) -> str:
        return f"{self.missing} beside numbers {self.first} to {self.last}"


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild did. ``positions``: per input the offset at which the service goes on; the others are read anew.

    ``unlike``: how many records this version would send with other bytes; a resend of them would not be the same.
    """

    records: int
    unlike: int
    highest: int
    letters: int
    items: int
    positions: dict[Place, int]
    progress: dict[Place, RelayProgress]
    torn: list[Tear]


@dataclass
class _Found:
    """What the outputs have said so far, besides the state."""

    records: int = 0
    unlike: int = 0
    highest: int = 0
    letters: int = 0
    as_of_ms: int = 0
    covered: dict[Place, int] = field(default_factory=dict)
    last_numbers: dict[Place, int] = field(default_factory=dict)
    # By whom and with which nonce something was done about a dead letter.
    commands: set[tuple[str, int]] = field(default_factory=set)
    timer_scopes: dict[str, Place] = field(default_factory=dict)
    torn: list[Tear] = field(default_factory=list)
    # Up to this number a record may be missing because its topic has forgotten it: that is no tear.
    expired: int = 0
    # What stands together on the log of one decision (or of several that look alike): its headers, and numbers.
    shared: tuple[tuple[str, bytes | None], ...] = ()
    together: list[int] = field(default_factory=list)
    decided: int = 1


class Rebuild(Generic[State]):
    """Rebuilds one service's empty database. ``told`` hears what is being done, and how many records that were so far."""

    def __init__(
        self,
        service: Service[State],
        database: PostgresDatabase,
        log: Log,
        told: Told = lambda *_: None,
        *,
        anyway: bool = False,
    ) -> None:
        self._service = service
        self._database = database
        self._log = log
        self._told = told
        self._anyway = anyway
        self._topics = {topic.name: topic for topic in (*service.writes, service.dead_letters)}
        self._found = _Found()
        self._memory: State | None = None

    async def run(self) -> Rebuilt:
        """Folds the outputs, then sets the positions. Nothing may write to the outputs meanwhile.

        Raises ``DatabaseNotEmpty``, ``NothingToFold``, ``OutputMissing``, ``OutputUnreadable``, ``TransactionTorn``,
        ``InputStops``, ``LogAway`` and ``DatabaseAway``; the schema is then to be thrown away.
        """
        if self._service.fold is None:
            raise NothingToFold(service=self._service.name)
        if not await is_empty(self._database):
            raise DatabaseNotEmpty(schema=self._database.schema)
        extents = await self._log.extents(output_places(tuple(self._topics.values())))
        waiting: list[Published] = []
        size = 0
        async for place, published in published_in_order(self._service.name, extents, self._log):
            if place not in self._found.last_numbers and extents[place].beginning:
                self._found.expired = max(self._found.expired, published.previous)
            waiting.append(published)
            size += len(published.record.value or b"")
            self._found.last_numbers[place] = published.number
            if len(waiting) == FOLD_RECORDS_MAX or size > FOLD_BYTES_MAX:
                await self._take(waiting)
                waiting, size = [], 0
        if waiting:
            await self._take(waiting)
        found = self._found
        self._close_decision()
        found.torn = [tear for tear in found.torn if tear.first > found.expired]
        # A service that reads its inputs anew decides what is missing when it comes to it.
        if found.torn and self._service.rebuild_reads_from == "covered" and not self._anyway:
            raise TransactionTorn(service=self._service.name, tears="; ".join(map(str, found.torn)))
        inputs = await read_inputs(
            self._service,
            self._database,
            self._log,
            found.covered,
            found.commands,
            lambda n: self._told("read", n),
            self._take_up,
        )
        progress = {
            place: RelayProgress(extents[place].end, number) for place, number in sorted(found.last_numbers.items())
        }
        await finish(self._database, inputs.positions, progress, found.highest)
        await self._set_clocks()
        return self._rebuilt(inputs, progress)

    def _rebuilt(self, inputs: InputsRead, progress: dict[Place, RelayProgress]) -> Rebuilt:
        positions = {place: position.next_offset for place, position in sorted(inputs.positions.items())}
        found = self._found
        return Rebuilt(
            found.records, found.unlike, found.highest, found.letters, inputs.items, positions, progress, found.torn
        )

    async def _take(self, batch: Sequence[Published]) -> None:
        """One transaction: the rows as they were, and what they mean."""
        received = [self._received(published) for published in batch]
        outputs = [(p, r) for p, r in zip(batch, received, strict=True) if r.topic != self._service.dead_letters.name]
        events = [each.event for each in received if isinstance(each.event, DeadLetterEvent)]
        letters = [await letter_of(event, self._log) for event in events]
        async with self._database.transaction() as transaction:
            await put_numbered(transaction.connection, [published.numbered_row for published in batch])
            await self._fold(transaction, outputs)
            await transaction.put_dead_letters(letters)
        found = self._found
        for published in batch:
            self._look_for_tear(published)
            found.highest = published.number
            found.unlike += not published.is_sent_alike(self._service.name)
            found.as_of_ms = max(found.as_of_ms, published.record.timestamp_ms)
            for place, offset in published.covered.items():
                found.covered[place] = max(offset, found.covered.get(place, 0))
        found.commands |= {(event.signer, event.nonce) for event in events if isinstance(event, DONE_BY_COMMAND)}
        found.letters += len(letters)
        found.records += len(batch)
        self._told("folded", found.records)

    def _look_for_tear(self, published: Published) -> None:
        """A decision whose records are fewer than it says was published in part, wherever the missing ones stood."""
        found = self._found
        if published.shared != found.shared:
            self._close_decision()
            found.shared, found.decided, found.together = published.shared, published.decided, []
        found.together.append(published.number)

    def _close_decision(self) -> None:
        found = self._found
        # Several decisions may look alike (of timers alone, which read nothing): then it is a multiple.
        if missing := -len(found.together) % found.decided:
            found.torn.append(Tear(found.together[0], found.together[-1], missing))

    def _received(self, published: Published) -> Received:
        record = published.record
        decoded = decode(self._topics[record.topic], record)
        if isinstance(decoded, Poison):
            raise OutputUnreadable(
                place=record.place, offset=record.offset, service=self._service.name, sentence=decoded.sentence
            )
        return decoded

    async def _fold(self, transaction: PostgresTransaction, outputs: Sequence[tuple[Published, Received]]) -> None:
        assert self._service.fold is not None
        timers: dict[Place, list[Timer]] = {}
        received = [each for _, each in outputs]
        for (published, _), set_ in zip(
            outputs, await self._apply(transaction, self._service.fold, received), strict=True
        ):
            for timer in set_:
                timers.setdefault(self._scope(published, timer), []).append(timer)
        for scope, due in timers.items():
            await transaction.set_timers(scope, due)

    async def _take_up(self, received: Sequence[Received]) -> None:
        if self._service.recall is not None and received:
            async with self._database.transaction() as transaction:
                await self._apply(transaction, self._service.recall, received)

    async def _apply(
        self, transaction: PostgresTransaction, rule: Fold[State], received: Sequence[Received]
    ) -> list[tuple[Timer, ...]]:
        """Takes one after the other into the state, and returns the timers that each sets."""
        if not received:
            return []
        service, connection = self._service, transaction.connection
        if service.shape == "grouped":
            keys = sorted({key for each in received for key in service.keys(each)})
            before = await service.store.load(connection, keys)
        else:
            if self._memory is None:
                self._memory = await service.store.load(connection, None)
            before = self._memory
        state, timers = before, []
        for each in received:
            decision = rule(state, each)
            state = decision.state
            timers.append(decision.timers)
        await service.store.save(connection, before, state)
        if service.shape == "single_active":
            self._memory = state
        return timers

    def _scope(self, published: Published, timer: Timer) -> Place:
        """Whose timer it was: of the input that caused it; what a tick sets stays with whoever had that timer before.

        Which partition looks after a timer decides only who ticks, never what is decided: state is locked by key.
        """
        if self._service.shape == "single_active":
            return WHOLE_SERVICE
        names = {topic.name for topic in self._service.reads}
        inputs = [place for place in published.covered if place.topic in names]
        first = self._service.reads[0]
        by_key = Place(first.name, partition_of(published.record.key or b"", first.partitions))
        scope = inputs[0] if inputs else self._found.timer_scopes.get(timer.name, by_key)
        self._found.timer_scopes[timer.name] = scope
        return scope

    async def _set_clocks(self) -> None:
        """A tick's time never goes back: it was that of a record it caused, and none was later than now."""
        as_of_ms = min(self._found.as_of_ms, time.time_ns() // 1_000_000)
        scopes = [WHOLE_SERVICE]
        if self._service.shape == "grouped":
            scopes = [
                Place(topic.name, partition) for topic in self._service.reads for partition in range(topic.partitions)
            ]
        await raise_clocks(self._database, scopes, as_of_ms)
