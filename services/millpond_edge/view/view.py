"""All read models behind one reading of their topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from millpond.events.topic import Topic
from millpond.events.topics import (
    AGENT_ENROLMENTS,
    GATEWAY_JOBS,
    METERING_USAGE,
    POOL_TERMS,
    REGISTRY_GATEWAYS,
    REGISTRY_MEMBERS,
    REWARDS_PAYOUTS,
    REWARDS_STATEMENTS,
    SCHEDULER_ASSIGNMENTS,
    TREASURY_SETTLEMENTS,
)
from millpond.stream.cursor import Cursor
from millpond.stream.decision import Received
from millpond.stream.feed import Feed
from millpond.stream.follow import Follow
from millpond.telemetry.metrics import Metrics
from millpond_edge.view.carried import Carried
from millpond_edge.view.gateways import Gateways
from millpond_edge.view.jobs import Jobs
from millpond_edge.view.members import Members
from millpond_edge.view.payouts import Payouts
from millpond_edge.view.terms import PublishedTerms
from millpond_edge.view.usage import Usage

TOPICS: tuple[Topic, ...] = (
    POOL_TERMS,
    REGISTRY_GATEWAYS,
    REGISTRY_MEMBERS,
    AGENT_ENROLMENTS,
    GATEWAY_JOBS,
    SCHEDULER_ASSIGNMENTS,
    METERING_USAGE,
    REWARDS_STATEMENTS,
    REWARDS_PAYOUTS,
    TREASURY_SETTLEMENTS,
)

Listener = Callable[[Received], None]


class View:
    """What the routes know. ``run`` keeps it up to date; it is worth asking once ``caught_up`` is set.

    ``why_stopped`` says why it is no longer kept up to date, or None: from then on it would lie.
    """

    def __init__(self, feed: Feed, metrics: Metrics) -> None:
        self.gateways = Gateways()
        self.members = Members()
        self.jobs = Jobs()
        self.usage = Usage()
        self.payouts = Payouts()
        self.carried = Carried()
        self.terms = PublishedTerms()
        self.caught_up = asyncio.Event()
        self.why_stopped: str | None = None
        self._listeners: list[Listener] = []
        self._models: dict[str, Callable[[Received], None]] = {
            POOL_TERMS.name: self.terms.apply,
            REGISTRY_GATEWAYS.name: self.gateways.apply,
            REGISTRY_MEMBERS.name: self.members.apply,
            AGENT_ENROLMENTS.name: self._enrolment,
            GATEWAY_JOBS.name: self.jobs.apply,
            SCHEDULER_ASSIGNMENTS.name: self.jobs.apply,
            METERING_USAGE.name: self.usage.apply,
            REWARDS_STATEMENTS.name: self.payouts.apply,
            REWARDS_PAYOUTS.name: self.payouts.apply,
            TREASURY_SETTLEMENTS.name: self.payouts.apply,
        }
        self._follow = Follow(TOPICS, feed, self._apply, metrics)

    @property
    def cursor(self) -> Cursor:
        """How far the models are."""
        return self._follow.cursor

    def cursor_of(self, topics: Iterable[Topic]) -> Cursor:
        """The same, of some of the topics only."""
        names = {topic.name for topic in topics}
        return Cursor({place: at for place, at in self.cursor.offsets.items() if place.topic in names})

    async def wait_for(self, cursor: Cursor) -> None:
        """As ``Follow.wait_for``."""
        await self._follow.wait_for(cursor)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """``listener`` is called behind each record, once the models know it. The returned function ends that.

        It must neither wait nor raise: what it raises stops the view.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def run(self, stopping: asyncio.Event) -> None:
        """Follows until ``stopping`` is set. Raises what ``Follow.run`` raises."""
        try:
            await self._follow.run(stopping)
            self.why_stopped = "edge is stopping"
        except BaseException as failure:
            self.why_stopped = str(failure)
            raise

    def why_not_ready(self) -> list[str]:
        """Reasons; none means that routes can be answered."""
        if self.why_stopped is not None:
            return [self.why_stopped]
        return [] if self.caught_up.is_set() else ["reading the topics from their beginnings"]

    def _enrolment(self, received: Received) -> None:
        self.members.apply(received)
        self.carried.apply(received)

    def _apply(self, received: Received) -> None:
        self._models[received.topic](received)
        for listener in tuple(self._listeners):
            listener(received)
