"""The *follow* shape: an instance reads all partitions into a read model of its own, and resumes where that is."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import structlog

from millpond.errors import MillpondError
from millpond.events.topic import Topic
from millpond.stream.backoff import backoff_s
from millpond.stream.cursor import Cursor
from millpond.stream.database import DeadLetter
from millpond.stream.decision import Received
from millpond.stream.feed import Feed, LogAway
from millpond.stream.plan import Plan, Stop
from millpond.stream.position import STOP_SENTENCES, Position, StopReason
from millpond.stream.reader import Reader
from millpond.stream.record import Place
from millpond.telemetry.metrics import Metrics

POLL_S = 0.25
AWAY_MAX_S = 2.0

FollowState = Mapping[Place, Position]
Apply = Callable[[Received], Awaitable[None] | None]
log = structlog.get_logger(__name__)


class FollowStopped(MillpondError):
    """{place} can't be followed beyond offset {offset} ({reason}): {detail} A read model that left something out
    would lie, so it stays where it is. {remedy}"""

    place: Place
    reason: StopReason

    def __init__(self, *, place: Place, offset: int, reason: StopReason, detail: str, remedy: str) -> None:
        super().__init__(place=place, offset=offset, reason=reason, detail=detail, remedy=remedy)
        self.place, self.reason = place, reason


class FollowEnded(MillpondError):
    """The read model is no longer kept up to date: {why}. Ask another instance."""


class NotFollowed(MillpondError):
    """The cursor names {place}, which is not followed here: it would be waited for in vain."""


class FollowStore(Protocol):
    """Where a read model lives together with how far it is."""

    async def load(self) -> FollowState:
        """The positions as they were saved with the model that is there now; empty for an empty model."""
        ...

    async def save(self, state: FollowState) -> None:
        """Keeps what ``apply`` has changed since the last call, and the positions, all or nothing."""
        ...


class NoStore:
    """A read model in memory only: each start reads everything from the beginning."""

    async def load(self) -> FollowState:
        return {}

    async def save(self, state: FollowState) -> None:
        return


class Follow:
    """Applies every record of the topics, each partition in order, once per life of the model.

    Dropped: a relay's repeats (by their number) and fillers. Passed and counted: poison of topics where that is set
    aside. A repeat of a *source* comes through: ``apply`` sets what an item says, and adds nothing up, or remembers items.
    What Kafka doesn't answer is waited for. Everything else that a read model can't pass honestly ends ``run``:
    ``FollowStopped`` for poison, gaps, expired records, a lost tail, a topic made again; and whatever ``apply`` or the
    store raises. After that the model in memory is worth nothing: begin again with what the store has.
    """

    def __init__(
        self,
        topics: Sequence[Topic],
        feed: Feed,
        apply: Apply,
        metrics: Metrics,
        *,
        store: FollowStore | None = None,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = frozenset(topic.name for topic in topics)
        self._apply = apply
        self._metrics = metrics
        self._store: FollowStore = store or NoStore()
        self._places = _Places()
        self._reader = Reader(topics, feed, self._places, metrics, monotonic_s)
        self._waiting: dict[asyncio.Future[None], Cursor] = {}
        self._ended: FollowEnded | None = None

    @property
    def cursor(self) -> Cursor:
        """How far the model is: what lies before has been applied, and saved."""
        return Cursor({place: position.next_offset for place, position in self._places.state.items()})

    async def wait_for(self, cursor: Cursor) -> None:
        """Returns once the model has applied at least that. For as long as it takes: the caller sets the limit.

        Raises ``NotFollowed``, and ``FollowEnded`` when ``run`` has returned or failed.
        """
        for place in cursor.offsets:
            if place.topic not in self._topics:
                raise NotFollowed(place=place)
        if self._ended is not None:
            raise self._ended
        if self.cursor.covers(cursor):
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[reached] = cursor
        try:
            await reached
        finally:
            self._waiting.pop(reached, None)

    async def run(self, stopping: asyncio.Event) -> None:
        """Follows until ``stopping`` is set. Raises as the class says. Once only."""
        ended = FollowEnded(why="it was stopped")
        try:
            self._places.state = dict(await self._store.load())
            await self._follow(stopping)
        except Exception as failure:
            ended = FollowEnded(why=str(failure))
            raise
        finally:
            self._ended = ended
            for reached in self._waiting:
                if not reached.done():
                    reached.set_exception(ended)

    async def _follow(self, stopping: asyncio.Event) -> None:
        away_for = 0
        while not stopping.is_set():
            try:
                plans = await self._reader.plans(POLL_S)
            except LogAway as away:
                wait_s = backoff_s(away_for, longest_s=AWAY_MAX_S)
                away_for += 1
                log.warning("away", cause=str(away), wait_s=wait_s)
                self._reader.forget_all()
                await asyncio.sleep(wait_s)
                continue
            away_for = 0
            if plans:
                await self._take(plans)
            for place, stop in self._reader.stops.items():
                raise self._stopped(place, stop)

    async def _take(self, plans: Sequence[Plan]) -> None:
        for plan in plans:
            for arrival in plan.arrivals:
                result = self._apply(arrival.received)
                if inspect.isawaitable(result):
                    await result
        state = {**self._places.state, **{plan.place: plan.after for plan in plans}}
        await self._store.save(state)
        self._places.state = state
        for plan in plans:
            self._reader.applied(plan)
            self._count(plan)
        self._tell()

    def _count(self, plan: Plan) -> None:
        self._metrics.add("millpond_stream_records_total", len(plan.arrivals), topic=plan.place.topic)
        self._metrics.add("millpond_stream_repeats_total", plan.repeats, topic=plan.place.topic)
        for letter, _ in plan.asides:
            self._metrics.add("millpond_stream_dead_letters_total", topic=plan.place.topic, reason=letter.reason)

    def _tell(self) -> None:
        cursor = self.cursor if self._waiting else Cursor({})
        for reached, wanted in self._waiting.items():
            if not reached.done() and cursor.covers(wanted):
                reached.set_result(None)

    def _stopped(self, place: Place, stop: Stop) -> FollowStopped:
        at = self._places.state.get(place, Position()).next_offset
        return FollowStopped(
            place=place, offset=at, reason=stop.reason, detail=stop.detail, remedy=STOP_SENTENCES[stop.reason]
        )


class _Places:
    """What the reader asks of a database: here, how far the model is. A follower has no dead letters of its own."""

    def __init__(self) -> None:
        self.state: FollowState = {}

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]:
        return {place: self.state.get(place, Position()) for place in places}

    async def dead_letters_from(self, place: Place, offset: int) -> dict[int, DeadLetter]:
        return {}
