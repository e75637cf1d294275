"""From an agent's mouth to Kafka: what is of one key in its order, different keys side by side."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog

from millpond.errors import MillpondError
from millpond.stream.source import NotAcknowledged, Observed, Source
from millpond_edge.agents.rules import Carry

# Claims of one connection that Kafka has not acknowledged: beyond that edge stops reading, and the agent feels it.
UNDER_WAY_MAX: Final = 1_000

log = structlog.get_logger(__name__)


class Passenger(NamedTuple):
    """A claim on its way; ``stamp_ms`` is when it arrived."""

    carry: Carry
    stamp_ms: int


class Lanes:
    """``arrived`` is called with what Kafka has acknowledged, ``stranded`` with what it has not, and why.

    What strands takes along what came behind it under its key: else that would be first on the topic.
    """

    def __init__(
        self,
        source: Source,
        *,
        arrived: Callable[[Sequence[Passenger]], None],
        stranded: Callable[[Sequence[Passenger], MillpondError], None],
    ) -> None:
        self._source = source
        self._arrived = arrived
        self._stranded = stranded
        self._lanes: dict[tuple[str, str], deque[Passenger]] = {}
        self._driving: set[asyncio.Task[None]] = set()
        self._under_way = 0
        self._room = asyncio.Event()

    async def put(self, passenger: Passenger) -> None:
        """Returns at once, unless very many are under way. One call at a time."""
        while self._under_way >= UNDER_WAY_MAX:
            self._room.clear()
            await self._room.wait()
        self._under_way += 1
        name = passenger.carry.topic.name, passenger.carry.key
        lane = self._lanes.get(name)
        if lane is not None:
            lane.append(passenger)
            return
        self._lanes[name] = deque([passenger])
        driving = asyncio.create_task(self._drive(name))
        self._driving.add(driving)
        driving.add_done_callback(self._driving.discard)

    async def empty(self) -> None:
        """Returns once all that was put has arrived or is stranded: a connection that ends takes nothing along."""
        while self._driving:
            await asyncio.wait(self._driving)

    async def _drive(self, name: tuple[str, str]) -> None:
        lane = self._lanes[name]
        while lane:
            # What comes while these are under way makes the next batch.
            batch = tuple(lane)
            lane.clear()
            try:
                await self._source.publish([_observed(each) for each in batch])
            except NotAcknowledged as failure:
                batch += tuple(lane)
                lane.clear()
                self._end(batch)
                self._stranded(batch, failure)
            else:
                self._end(batch)
                self._arrived(batch)
        del self._lanes[name]

    def _end(self, batch: Sequence[Passenger]) -> None:
        self._under_way -= len(batch)
        self._room.set()


def _observed(passenger: Passenger) -> Observed:
    carry, stamp_ms = passenger
    return Observed(carry.topic, carry.key, carry.event, carry.item, stamp_ms)
