"""A source while its broker dies: what was acknowledged is on Kafka; what was not is sent again; each counts once."""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from pathlib import Path

import asyncpg

from conftest import OwnStack
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.record import ITEM
from millpond.stream.source import NotAcknowledged, Observed, Source
from millpond.telemetry.metrics import Metrics
from stream.tally import Drop, drops_topic, tally
from stream.topics_made import FIRST_STAMP_MS, create_topics, new_name, read_all
from stream.workers import Workers, wait_until

AGENTS = 20
# How many each agent must have seen acknowledged after the last death of the broker.
AFTER_S = 1.0
DEATHS = 2
WITHIN_S = 120.0


class Agents:
    """The outside: each sees one thing after the other, and sends it again until it is acknowledged."""

    def __init__(self, name: str, source: Source) -> None:
        self.topic = drops_topic(name)
        self.source = source
        self.acknowledged: dict[str, int] = {}
        self.refused = 0
        self.stopping = asyncio.Event()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for agent in range(AGENTS):
                tasks.create_task(self._agent(agent))

    async def _agent(self, agent: int) -> None:
        sequence = 0
        while not self.stopping.is_set():
            item, amount = f"agent-{agent}/{sequence}", sequence + 1
            await self._until_acknowledged(item, Drop(bucket=f"bucket-{agent}", amount=amount))
            self.acknowledged[item] = amount
            sequence += 1
            await asyncio.sleep(0.005)

    async def _until_acknowledged(self, item: str, drop: Drop) -> None:
        for attempt in range(1_000):
            try:
                # A new stamp each time, as edge's clock gives it.
                stamp_ms = FIRST_STAMP_MS + attempt
                await self.source.publish([Observed(self.topic, drop.bucket, drop, item, stamp_ms)])
                return
            except NotAcknowledged:
                self.refused += 1
        raise AssertionError(f"{item} is never acknowledged")


async def test_every_acknowledged_item_counts_once_while_the_broker_dies(
    own_stack: OwnStack, database: str, run_directory: Path
) -> None:
    stack = await asyncio.to_thread(own_stack, "kafka")
    name, bootstrap = new_name(), stack.kafka.bootstrap_servers
    await create_topics(bootstrap, tally(name))
    workers = Workers(bootstrap, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    try:
        workers.start(name)
        open_publisher = partial(KafkaPublisher.open, {"bootstrap_servers": bootstrap, "request_timeout_ms": 2_000})
        async with Source("rain", open_publisher, Metrics(service="rain"), patience_s=0.3) as source:
            agents = Agents(name, source)
            running = asyncio.create_task(agents.run())
            for _ in range(DEATHS):
                known = len(agents.acknowledged)
                await wait_until(lambda known=known: len(agents.acknowledged) > known + 50, WITHIN_S)
                await asyncio.to_thread(stack.kafka.kill)
                await asyncio.sleep(AFTER_S)
                await asyncio.to_thread(stack.restart_dead)
            known = len(agents.acknowledged)
            await wait_until(lambda: len(agents.acknowledged) > known + 50, WITHIN_S)
            agents.stopping.set()
            await running
        assert agents.refused > 0
        await _all_counted(database, name, agents)
        records = await read_all(bootstrap, drops_topic(name))
        items = [(record.header(ITEM) or b"").decode() for record in records]
        assert set(items) == agents.acknowledged.keys()
        print(f"{len(agents.acknowledged)} acknowledged, {agents.refused} refused, {len(items)} on the log")
    finally:
        workers.end()


async def _all_counted(dsn: str, name: str, agents: Agents) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for item, amount in agents.acknowledged.items():
        bucket = "bucket-" + item.removeprefix("agent-").partition("/")[0]
        total, drops = expected.get(bucket, (0, 0))
        expected[bucket] = (total + amount, drops + 1)
    connection = await asyncpg.connect(dsn)

    async def found() -> dict[str, tuple[int, int]]:
        try:
            rows = await connection.fetch(f'SELECT * FROM "{name}".buckets')
        except asyncpg.UndefinedTableError:
            return {}  # the worker is still waiting for the broker that was killed before it was ready
        return {row["bucket"]: (row["total"], row["drops"]) for row in rows}

    try:

        async def is_counted() -> bool:
            return sum(drops for _, drops in (await found()).values()) >= len(agents.acknowledged)

        await wait_until(is_counted, WITHIN_S)
        assert await found() == expected
    finally:
        await connection.close()
