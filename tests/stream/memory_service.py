"""A whole service on the log and the database in memory: the loop, the transactions, the relay, and clocks set by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from millpond.events.operator_commands import OperatorCommanded
from millpond.identity import Action, verify_action
from millpond.stream.command_desk import CommandDesk
from millpond.stream.database import Lease
from millpond.stream.leadership import Leadership, LeaseTiming
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.process import Clock, Process
from millpond.stream.reader import Reader
from millpond.stream.record import Place
from millpond.stream.relay import OpenPublisher, Relay
from millpond.stream.service import Service
from millpond.stream.starting import check_published
from millpond.stream.transact import Transactor
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import Tracing
from stream.operators import DOMAIN, OPERATOR

LEASE_S = 2.5
WITHIN_S = 120.0
# Time that passes each time somebody looks at a clock: what waits for a while gets its turn soon.
LOOK_S = 0.02


class HandClock:
    """Both clocks in one; moves a little by being looked at. ``set_back_s``: what somebody did to the wall clock."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self.now_s = now_ms / 1_000
        self.set_back_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += LOOK_S
        return self.now_s

    def now_ms(self) -> int:
        return int((self.now_s - self.set_back_s) * 1_000)


class DictStore:
    """State as a mapping of key to anything, in the memory that a transaction of ``MemoryDatabase`` offers."""

    schema = ""

    async def load(self, connection: dict[str, Any], keys: Sequence[str] | None) -> Mapping[str, Any]:
        return {key: value for key, value in connection.items() if keys is None or key in keys}

    async def save(self, connection: dict[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        connection.update(after)


def verify(command: OperatorCommanded) -> Action:
    return verify_action(command, domain=DOMAIN, signers=frozenset({OPERATOR}))


class Instance:
    """One process of a service; several may share a database."""

    def __init__(
        self, service: Service[Any], log: MemoryLog, database: MemoryDatabase, clock: HandClock, feed: MemoryFeed
    ) -> None:
        self.service, self.log, self.database, self.feed = service, log, database, feed
        self.metrics = Metrics(service=service.name)
        tracing = Tracing(service=service.name, provider=None)
        desk = CommandDesk(service.name, service.reads, service.dead_letters, verify)
        self.reader = Reader(service.reads, feed, database, self.metrics, clock.monotonic_s)
        transactor = Transactor(service, database, desk)
        clocks = Clock(clock.now_ms, clock.monotonic_s)
        self.process = Process(service, self.reader, feed, database, transactor, self.metrics, tracing, clocks)
        self._clock = clock
        self._tracing = tracing

    def leadership(self, name: str, owner: str) -> Leadership:
        return Leadership(self.database, name, owner, LeaseTiming(LEASE_S, 0.005), self._clock.monotonic_s)

    async def work(self, owner: str, stopping: asyncio.Event) -> None:
        if self.service.shape == "grouped":
            await self.process.run_grouped(stopping)
        else:
            run_active = partial(self.process.run_active, stopping=stopping)
            await self.leadership("active", owner).lead(run_active, stopping)

    async def relay(self, owner: str, open_publisher: OpenPublisher, stopping: asyncio.Event) -> None:
        writes = (*self.service.writes, self.service.dead_letters)
        relay = Relay(self.service.name, self.database, open_publisher, self.metrics, self._tracing, poll_s=0.001)

        async def publish(lease: Lease) -> None:
            found = await check_published(self.service.name, writes, self.database, self.log)
            await relay.run(lease, found, stopping)

        await self.leadership("relay", owner).lead(publish, stopping)


@asynccontextmanager
async def running(*instances: Instance, open_publisher: OpenPublisher) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for n, instance in enumerate(instances):
            tasks.create_task(instance.work(f"work-{n}", stopping))
            tasks.create_task(instance.relay(f"relay-{n}", open_publisher, stopping))
        try:
            yield
        finally:
            stopping.set()


async def settled(database: MemoryDatabase, log: MemoryLog, places: Sequence[Place]) -> None:
    """Waits until everything there is was applied, and what was decided is published."""

    async def is_settled() -> bool:
        positions = await database.positions(places)
        applied = all(positions[place].next_offset == log.extent(place).end for place in places)
        return applied and await database.outbox_end() == await database.published_up_to()

    await until(is_settled)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            answer = condition()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.001)
