"""The loop of a process that reads, decides and publishes: grouped or single-active, the same steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import structlog

from millpond.stream.backoff import backoff_s
from millpond.stream.database import WHOLE_SERVICE, Database, DatabaseAway, Lease, LeaseLost, PositionMoved
from millpond.stream.decision import Received, State
from millpond.stream.feed import Feed, LogAway
from millpond.stream.plan import Plan
from millpond.stream.reader import Reader
from millpond.stream.record import Place
from millpond.stream.service import Service
from millpond.stream.transact import Applied, Batch, RulesFailed, Transactor
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import Tracing, inject

POLL_S = 0.1
TIMERS_CHECK_S = 0.1
TICK_RETRY_S = 1.0
# Kafka or the database is looked for at least this often while it is away.
AWAY_MAX_S = 2.0
# How many observations (decoding an output, asking the chain) run side by side.
OBSERVATIONS_MAX = 16

log = structlog.get_logger(__name__)


class Clock:
    """The two clocks of a process; a test moves its own by hand."""

    def __init__(self, now_ms: Callable[[], int], monotonic_s: Callable[[], float]) -> None:
        self.now_ms = now_ms
        self.monotonic_s = monotonic_s


@dataclass(frozen=True, slots=True)
class Due:
    """Whose timers may go off, at which time; ``unread``: see ``Tick``."""

    scopes: Sequence[Place]
    now_ms: int
    unread: frozenset[Place] = frozenset()


@dataclass(frozen=True, slots=True)
class Horizon:
    """A moment at which a timer was due, and where the inputs ended then."""

    at_ms: int
    ends: Mapping[Place, int]


class Process(Generic[State]):
    """Applies what the reader plans.

    ``turned_at_s`` (monotonic) moves with every turn of the loop, also when idle, and with every observation.
    """

    def __init__(
        self,
        service: Service[State],
        reader: Reader,
        feed: Feed,
        database: Database,
        transactor: Transactor[State],
        metrics: Metrics,
        tracing: Tracing,
        clock: Clock,
    ) -> None:
        self._service = service
        self._reader = reader
        self._feed = feed
        self._database = database
        self._transactor = transactor
        self._metrics = metrics
        self._tracing = tracing
        self._group = service.name if service.shape == "grouped" else None
        self._clock = clock
        self._timers_checked_at_s = 0.0
        self._horizon: Horizon | None = None
        self._away_for = 0
        self.turned_at_s = clock.monotonic_s()

    async def run_grouped(self, stopping: asyncio.Event) -> None:
        """One transaction per partition; state is in the database. Returns once ``stopping`` is set."""
        while not stopping.is_set():
            await self._guarded(self._turn_grouped)

    async def run_active(self, lease: Lease, stopping: asyncio.Event) -> None:
        """One transaction per poll over all partitions; state is in memory, loaded here. Raises ``LeaseLost``.

        Any failure of a transaction discards the memory and loads it again: what is in the database is what counts.
        """
        memory: list[State] = []
        self._horizon = None
        while not stopping.is_set():
            await self._guarded(lambda: self._turn_active(lease, memory))

    async def _guarded(self, turn: Callable[[], asyncio.Future[None] | object]) -> None:
        try:
            await turn()  # type: ignore[misc]
            self._away_for = 0
        except (DatabaseAway, LogAway) as away:
            # Wait in place: the poll loop turns, so membership is kept, and nothing moves until it is back.
            wait_s = backoff_s(self._away_for, longest_s=AWAY_MAX_S)
            self._away_for += 1
            log.warning("away", cause=str(away), wait_s=wait_s)
            self._reader.forget_all()
            await asyncio.sleep(wait_s)
        finally:
            self.turned_at_s = self._clock.monotonic_s()
            self._metrics.set("millpond_stream_poll_timestamp_seconds", self._clock.now_ms() / 1000)

    async def _turn_grouped(self) -> None:
        # One after the other: of two open transactions of a frozen process the second would get its locks when the first
        # is ended, and hold them as long again (measured: others waited 3.2 s).
        for plan in await self._reader.plans(POLL_S):
            await self._settle(plan)
        for scope in await self._due_scopes():
            if scope in self._feed.assigned():
                await self._settle_timers(scope)

    async def _settle(self, plan: Plan) -> None:
        """Applies a partition's plan; a failure stays the partition's own."""
        try:
            await self._apply([plan], None)
        except PositionMoved as moved:
            log.info("position_moved", place=str(plan.place), cause=str(moved))
            self._reader.forget(plan.place)
        except RulesFailed as failure:
            await self._settle_before(plan, failure)
        except (DatabaseAway, LogAway):
            raise
        # Whatever else it is, the batch was not applied: it is tried again, with a growing wait and a metric.
        except Exception as cause:
            self._reader.failed(plan.place, cause)

    async def _settle_timers(self, scope: Place) -> None:
        try:
            await self._apply([], None, due=Due([scope], self._clock.now_ms()))
        except RulesFailed as failure:
            # The timer is still there, and goes off again at the next look.
            self._tick_failed(failure)

    def _tick_failed(self, failure: RulesFailed) -> None:
        self._metrics.add("millpond_stream_retries_total", reason=type(failure).__name__)
        self._timers_checked_at_s = self._clock.monotonic_s() + TICK_RETRY_S
        log.warning("tick_failed", cause=str(failure), wait_s=TICK_RETRY_S)

    async def _settle_before(self, plan: Plan, failure: RulesFailed) -> None:
        prefix = self._reader.replan(plan, failure.offset)
        if prefix is not None and prefix.moves:
            await self._settle(prefix)
        self._reader.failed(plan.place, failure)

    async def _turn_active(self, lease: Lease, memory: list[State]) -> None:
        if not memory:
            self._reader.forget_all()
            memory.append(await self._restore())
        plans = await self._reader.plans(POLL_S)
        due = await self._due_active(plans)
        if not plans and due is None:
            return
        try:
            memory[0] = await self._apply_active(plans, memory[0], lease, due)
        except BaseException:
            memory.clear()
            raise

    async def _due_active(self, plans: Sequence[Plan]) -> Due | None:
        """What is due, once all that stood on the inputs at that moment has been decided, but for what is held.

        Otherwise a service that was down for a minute would take everybody for silent, whose words lie there unread.
        """
        if self._horizon is None:
            if not await self._due_scopes():
                return None
            # The time first: what was on the log by then stands before these ends.
            at_ms = self._clock.now_ms()
            self._horizon = Horizon(at_ms, await self._reader.ends())
        unread = await self._reader.unread(self._horizon.ends, {plan.place for plan in plans})
        if not all(self._reader.held(place) for place in unread):
            return None
        due, self._horizon = Due([WHOLE_SERVICE], self._horizon.at_ms, unread), None
        return due

    async def _restore(self) -> State:
        # Without holding the lease, so that a long load blocks no takeover. Whoever led before can't commit any more, and
        # if somebody takes over meanwhile, our next transaction finds out.
        async with self._database.transaction(patient=True) as transaction:
            return await self._service.store.load(transaction.connection, None)

    async def _apply_active(self, plans: Sequence[Plan], memory: State, lease: Lease, due: Due | None) -> State:
        try:
            return await self._apply(plans, memory, lease=lease, due=due)
        except (LeaseLost, DatabaseAway, LogAway):
            raise
        except RulesFailed as failure:
            failing = next((plan for plan in plans if plan.place == failure.place), None)
            memory = await self._restore()
            rest = [plan for plan in plans if plan is not failing]
            if failing is not None:
                prefix = self._reader.replan(failing, failure.offset)
                rest += [prefix] if prefix is not None else []
            if rest:
                memory = await self._apply_active(rest, memory, lease, due if failing is not None else None)
            if failing is not None:
                self._reader.failed(failing.place, failure)
            else:
                self._tick_failed(failure)
            return memory
        except PositionMoved:
            # With the lease held nobody else moves them: the database itself is another than before.
            self._reader.forget_all()
            return await self._restore()
        except Exception as cause:
            for plan in plans:
                self._reader.failed(plan.place, cause)
            return await self._restore()

    async def _apply(
        self, plans: Sequence[Plan], memory: State | None, *, lease: Lease | None = None, due: Due | None = None
    ) -> State:
        started_s = self._clock.monotonic_s()
        records = [record for plan in plans for record in plan.records]
        with self._tracing.consume_span(records, group=self._group):
            findings = await self._observe(plans)
            trace = [(name, value.decode()) for name, value in inject([])]
            due = due or Due((), self._clock.now_ms())
            batch = Batch(plans, due.now_ms, due.scopes, due.unread, lease, findings, trace)
            applied = await self._transactor.apply(batch, memory)
        for plan in plans:
            self._reader.applied(plan)
        self._count(plans, applied, self._clock.monotonic_s() - started_s)
        return applied.state  # type: ignore[return-value]

    def _count(self, plans: Sequence[Plan], applied: Applied[State], seconds: float) -> None:
        for plan in plans:
            self._metrics.add("millpond_stream_records_total", len(plan.arrivals), topic=plan.place.topic)
            self._metrics.add("millpond_stream_repeats_total", plan.repeats, topic=plan.place.topic)
        for letter in applied.letters:
            self._metrics.add("millpond_stream_dead_letters_total", topic=letter.place.topic, reason=letter.reason)
        if plans:
            self._metrics.observe("millpond_stream_batch_records", sum(len(plan.records) for plan in plans))
            self._metrics.observe("millpond_stream_batch_seconds", seconds)

    async def _observe(self, plans: Sequence[Plan]) -> dict[tuple[Place, int], object]:
        observe = self._service.observe
        if observe is None:
            return {}
        slots = asyncio.Semaphore(OBSERVATIONS_MAX)
        received = self._transactor.for_rules(plans)

        async def one(each: Received) -> object:
            async with slots:
                found = await observe(each)
            # A batch of long looks is no loop that hangs; one that never ends is.
            self.turned_at_s = self._clock.monotonic_s()
            return found

        findings = await asyncio.gather(*(one(each) for each in received))
        return {(each.place, each.offset): found for each, found in zip(received, findings, strict=True)}

    async def _due_scopes(self) -> list[Place]:
        now_s = self._clock.monotonic_s()
        if now_s < self._timers_checked_at_s + TIMERS_CHECK_S:
            return []
        self._timers_checked_at_s = now_s
        return await self._database.timers_due(self._clock.now_ms())
