"""The deciding transaction: lease, positions, timers, items, keys, rules, state, outbox; all of it or nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic

from millpond.errors import MillpondError
from millpond.stream.command_desk import CONFLICT_SENTENCE, Announcement, CommandDesk, Handled
from millpond.stream.database import Database, DeadLetter, Lease, Move, OutboxRow, Transaction
from millpond.stream.decision import Conclude, Input, Received, State, Tick, Timer
from millpond.stream.outlet import Outlet, shared_headers, under
from millpond.stream.plan import Plan, dead_letter
from millpond.stream.record import Place
from millpond.stream.service import Service

# The server ends a transaction in which nothing is said for a second and a half, as a frozen process's. Rules that count
# on a busy machine may take longer than that for a batch; the same batch would be tried for ever.
STILL_HERE_S: Final = 0.4


class RulesFailed(MillpondError):
    """The rules of {service} raised {cause} on {place} offset {offset}. The partition waits there and tries again."""

    place: Place
    offset: int

    def __init__(self, *, service: str, place: Place, offset: int, cause: str) -> None:
        super().__init__(service=service, place=place, offset=offset, cause=cause)
        self.place, self.offset = place, offset

    def __reduce__(self) -> tuple[object, ...]:
        return (_rules_failed, (dict(self.facts),))


def _rules_failed(facts: dict[str, object]) -> RulesFailed:
    return RulesFailed(**facts)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Batch:
    """What one transaction is about. ``findings``: what was observed about an input, by place and offset.

    ``scopes``: whose timers may go off, and ``unread``: what their ticks don't know of.
    ``trace``: headers that carry the trace context on.
    """

    plans: Sequence[Plan]
    now_ms: int
    scopes: Sequence[Place] = ()
    unread: frozenset[Place] = frozenset()
    lease: Lease | None = None
    findings: Mapping[tuple[Place, int], object] = field(default_factory=dict)
    trace: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Applied(Generic[State]):
    """What came of a transaction, once it is committed."""

    state: State | None
    published: int
    letters: tuple[DeadLetter, ...]


@dataclass
class _Folded(Generic[State]):
    """What the rules have said so far in this transaction."""

    state: State
    rows: list[OutboxRow]
    timers: dict[Place, list[Timer]]
    refusals: list[tuple[DeadLetter, str]] = field(default_factory=list)


@dataclass
class _Sorted:
    """What arrived, by who is to deal with it."""

    inputs: list[tuple[Place, Input]]
    letters: list[tuple[DeadLetter, str]]
    announcements: list[Announcement]


class Transactor(Generic[State]):
    """Applies plans to one service's database."""

    def __init__(self, service: Service[State], database: Database, desk: CommandDesk) -> None:
        self._service = service
        self._database = database
        self._desk = desk
        self._outlet = Outlet(service.name, (*service.writes, service.dead_letters))

    async def apply(self, batch: Batch, memory: State | None) -> Applied[State]:
        """Runs one transaction. ``memory`` is a single-active service's state; a grouped one's is loaded under its keys.

        Raises ``LeaseLost``, ``PositionMoved``, ``DatabaseAway``, ``RulesFailed``; then nothing was applied.
        """
        async with self._database.transaction() as transaction:
            if batch.lease is not None:
                await transaction.hold_lease(batch.lease)
            # Also a plan that stops at its first record: only the place's owner may say so.
            moves = [Move(plan.place, plan.before, plan.after) for plan in batch.plans]
            if moves:
                await transaction.advance(moves)
            read = {move.place: move.after.next_offset for move in moves}
            headers = shared_headers(read, batch.trace)
            sorted_ = await self._inputs(transaction, batch)
            state, rows = await self._decide(transaction, sorted_, memory, headers)
            letters, letter_rows = await self._announced(transaction, batch.plans, sorted_, headers)
            rows = [*rows, *letter_rows]
            if len(rows) > 1:
                all_at_once = shared_headers(read, batch.trace, decided=len(rows))
                rows = [under(row, headers, all_at_once) for row in rows]
            await transaction.put_outbox(rows)
        if rows:
            await self._database.announce()
        return Applied(state, len(rows), letters)

    def for_rules(self, plans: Sequence[Plan]) -> list[Received]:
        """What the rules may get to see of these plans: what is to be observed for them beforehand."""
        arrived = [arrival.received for plan in plans for arrival in plan.arrivals]
        return [each for each in map(self._desk.for_rules, arrived) if each is not None]

    async def _inputs(self, transaction: Transaction, batch: Batch) -> _Sorted:
        """Ticks first, then what arrived: for the rules, for the library itself, or a conflict."""
        sorted_ = _Sorted([], [], [])
        for scope in batch.scopes:
            as_of_ms, names = await transaction.take_timers(scope, batch.now_ms)
            sorted_.inputs += [(scope, Tick(name, as_of_ms, batch.unread)) for name in names]
        arrivals = [arrival for plan in batch.plans for arrival in plan.arrivals]
        verdicts = iter(await transaction.admit([arrival.item for arrival in arrivals if arrival.item is not None]))
        for arrival in arrivals:
            verdict = "first" if arrival.item is None else next(verdicts)
            if verdict == "conflict":
                sorted_.letters.append((dead_letter(arrival.record, "conflict", "aside"), CONFLICT_SENTENCE))
            elif verdict == "first" and arrival.received.topic in self._desk.topics:
                self._sort(await self._desk.handle(transaction, arrival), batch, sorted_)
            elif verdict == "first":
                self._give_to_rules(arrival.received, batch, sorted_)
        return sorted_

    def _sort(self, handled: Handled, batch: Batch, sorted_: _Sorted) -> None:
        sorted_.announcements += handled.announcements
        sorted_.letters += [(letter, handled.refusal) for letter in handled.letters]
        if handled.input is not None:
            self._give_to_rules(handled.input, batch, sorted_)

    def _give_to_rules(self, received: Received, batch: Batch, sorted_: _Sorted) -> None:
        if batch.findings:
            received = received._replace(finding=batch.findings.get((received.place, received.offset)))
        sorted_.inputs.append((self._service.timer_scope(received.place), received))

    async def _decide(
        self, transaction: Transaction, sorted_: _Sorted, memory: State | None, headers: str
    ) -> tuple[State | None, list[OutboxRow]]:
        inputs = sorted_.inputs
        if not inputs:
            return memory, []
        # A service may keep nothing: then its state is None.
        before: State = memory  # type: ignore[assignment]
        if self._service.shape == "grouped":
            keys = sorted({key for _, each in inputs for key in self._service.keys(each)})
            await transaction.lock(keys)
            before = await self._service.store.load(transaction.connection, keys)
        folded = _Folded(before, [], {})
        said_s = time.monotonic()
        for scope, each in inputs:
            self._take(scope, each, folded, headers)
            if time.monotonic() > said_s + STILL_HERE_S:
                await transaction.still_here()
                said_s = time.monotonic()
        self._conclude(*inputs[-1], folded, headers)
        await self._service.store.save(transaction.connection, before, folded.state)
        for scope, timers in folded.timers.items():
            await transaction.set_timers(scope, timers)
        sorted_.letters += folded.refusals
        return folded.state, folded.rows

    def _take(self, scope: Place, each: Input, folded: _Folded[State], headers: str) -> None:
        decide = self._service.decide
        self._fold_in(scope, each, folded, headers, lambda state: decide(state, each))

    def _conclude(self, scope: Place, last: Input, folded: _Folded[State], headers: str) -> None:
        if self._service.conclude is not None:
            self._fold_in(scope, last, folded, headers, self._service.conclude)

    def _fold_in(self, scope: Place, each: Input, folded: _Folded[State], headers: str, rule: Conclude[State]) -> None:
        try:
            decision = rule(folded.state)
            folded.rows += [self._outlet.row(outgoing, headers) for outgoing in decision.events]
        # Whatever a rule raises is a bug that must not pass as "applied", and must not stop the other partitions.
        except Exception as cause:
            place, offset = (each.place, each.offset) if isinstance(each, Received) else (scope, -1)
            raise RulesFailed(service=self._service.name, place=place, offset=offset, cause=repr(cause)) from cause
        folded.state = decision.state
        if decision.refusal is not None:
            assert isinstance(each, Received), "a tick can't be refused"
            assert each.record is not None
            folded.refusals.append((dead_letter(each.record, "refused_command", "aside"), decision.refusal))
        if decision.timers:
            folded.timers.setdefault(scope, []).extend(decision.timers)

    async def _announced(
        self, transaction: Transaction, plans: Sequence[Plan], sorted_: _Sorted, headers: str
    ) -> tuple[tuple[DeadLetter, ...], list[OutboxRow]]:
        """What goes to the service's dead-letter topic: each letter once per state, and what was done by command."""
        letters = list(sorted_.letters)
        for plan in plans:
            letters += [(letter, sentence) for letter, sentence in plan.asides]
            letters += [(letter, "The record could be read after all.") for letter in plan.resumed]
            if plan.stop is not None and plan.stop.letter is not None:
                letters.append((plan.stop.letter, plan.stop.detail))
        are_new = await transaction.put_dead_letters([letter for letter, _ in letters]) if letters else []
        new = [each for each, is_new in zip(letters, are_new, strict=True) if is_new]
        announcements = [self._desk.announce(letter, sentence) for letter, sentence in new] + sorted_.announcements
        topic = self._service.dead_letters
        rows = [self._outlet.raw_row(topic, *announcement, headers) for announcement in announcements]
        return tuple(letter for letter, _ in new), rows
