"""A broker and a database in memory that fail on command, as real ones do: before the deed, or after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from millpond.stream.database import DatabaseAway
from millpond.stream.log import Outbound, SendFailed
from millpond.stream.memory.database import MemoryDatabase, MemoryTransaction
from millpond.stream.memory.log import MemoryLog, MemoryPublisher
from millpond.stream.record import Place

Fault = Literal["", "before", "after"]


class Broker:
    """A log in memory behind publishers that fail on command."""

    def __init__(self, log: MemoryLog) -> None:
        self.log = log
        self.opened = 0
        self.closed = 0
        # How each send goes, by its turn: refused "before" it is written, or the acknowledgement lost "after" it is.
        self.fault: Callable[[int], Fault] = lambda turn: ""
        self.refuses: Place | None = None
        self.sends: list[int] = []
        self.sent = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def open(self) -> BrokerPublisher:
        self.opened += 1
        return BrokerPublisher(self)


class BrokerPublisher:
    """After a failure nothing more gets through at that place: its sequence would be out of order, as Kafka sees it."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.inner = MemoryPublisher(broker.log)
        self.broken: set[Place] = set()

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        if place in self.broken or place == self.broker.refuses:
            raise SendFailed(place=place, cause="out of order")
        fault = self.broker.fault(len(self.broker.sends))
        self.broker.sends.append(len(records))
        if fault == "before":
            self.broken.add(place)
            raise SendFailed(place=place, cause="refused")
        acknowledged = await self.inner.send(place, records)
        self.broker.sent.set()

        async def answer() -> int:
            await self.broker.answers.wait()
            if fault == "after":
                self.broken.add(place)
                raise SendFailed(place=place, cause="connection lost")
            return await acknowledged

        answering = asyncio.ensure_future(answer())
        # Whoever gives up on a publisher asks no more.
        answering.add_done_callback(lambda done: done.cancelled() or done.exception())
        return answering

    async def close(self) -> None:
        self.broker.closed += 1


class FlakyDatabase(MemoryDatabase):
    """``fault`` is asked at each transaction: lost "before" its commit, or the answer to COMMIT lost "after" it."""

    def __init__(self, now_s: Callable[[], float], fault: Callable[[], Fault]) -> None:
        super().__init__(now_s)
        self._fault = fault

    @asynccontextmanager
    async def transaction(self, *, patient: bool = False) -> AsyncIterator[MemoryTransaction]:
        fault = self._fault()
        async with super().transaction(patient=patient) as transaction:
            yield transaction
            if fault == "before":
                raise DatabaseAway(cause="connection lost")
        if fault == "after":
            raise DatabaseAway(cause="connection lost at COMMIT")
