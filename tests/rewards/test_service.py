"""rewards as it runs: on Kafka and PostgreSQL, closed by command, killed in the middle, its database lost."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from conftest import OwnStack
from millpond.events.envelope import CE_TYPE, Envelope, encode
from millpond.events.event import Event
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.on_chain import AtBlock, item_of
from millpond.events.rewards_epochs import Checkpoint, EpochClosed, EpochClosing
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topic import Topic, Written
from millpond.events.topics import (
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    REWARDS_STATEMENTS,
)
from millpond.localstack import LocalStack
from millpond.proofs import make_receipt_key
from millpond.proofs.checkpoint import check_checkpoint
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place, Record
from millpond.stream.recovery.rebuild_postgres import rebuild_database
from millpond_rewards.app import METERED, ends_seen_on, rewards
from rewards.story import ANN, BEN, POOL, TOPIC_OF, commission, filled, line, planned, terms, ticket, watermarks
from stream import operators
from stream.disasters import CAUGHT_UP_WITHIN_S, caught_up, millpond, rows, said
from stream.topics_made import make_topics, read_all
from stream.workers import Worker, start_worker, wait_until

pytestmark = pytest.mark.long

WITHIN_S = 120.0
TABLES = {
    "places": "topic, partition",
    "line_trees": "partition",
    "work": "partition, contributor",
    "tickets": "ticket",
    "offers": "record_offset",
    "accounts": "contributor",
    "payouts": "payout",
    "slots": "slot",
    "balances": "asset, account",
    "book": "name",
}
SERVICE = rewards(POOL, ends_seen_on(KafkaLog({})))

E = TypeVar("E", bound=Event)


@dataclass
class Site:
    """rewards' Kafka and database, its operator at a prompt, and everybody else as far as a log can tell."""

    stack: LocalStack
    directory: Path
    workers: list[Worker] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    last: dict[Place, int] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        return self.stack.kafka.bootstrap_servers

    @property
    def dsn(self) -> str:
        return self.stack.postgres.dsn()

    def start(self) -> Worker:
        environment = {
            "MILLPOND_POOL_OPERATORS": operators.OPERATOR,
            "MILLPOND_REWARDS_RECEIPT_KEY_FILE": str(self.directory / "receipt.key"),
        }
        log = self.directory / f"rewards-{len(self.workers)}.log"
        worker = start_worker(
            self.bootstrap, self.dsn, "rewards", program="millpond_rewards", log=log, environment=environment
        )
        self.workers.append(worker)
        return worker

    async def say(self, *events: Event, partition: int | None = None) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for event in events:
                await self._send(producer, event, partition)
            await producer.flush()
        finally:
            await producer.stop()

    async def answer(self, closing: EpochClosing) -> None:
        """All that metering has to say."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for watermark, copy in watermarks(closing):
                await self._send(producer, watermark, copy)
            await producer.flush()
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer, event: Event, partition: int | None) -> None:
        topic, stamp_ms = TOPIC_OF[type(event)], time.time_ns() // 1_000_000
        key = event.contributor if isinstance(event, UsageRecorded | UsageHeld) else "key"
        place = Place(topic.name, partition_of(key.encode(), topic.partitions) if partition is None else partition)
        headers = [*encode(Envelope("others/1", event.type_name, "/millpond/others", ce_time(stamp_ms)))]
        if topic.written is Written.BY_SOURCE:
            assert isinstance(event, AtBlock)
            headers.append((ITEM, item_of(event).encode()))
        else:
            number = self.numbers[topic.owner] = self.numbers.get(topic.owner, 0) + 1
            previous, self.last[place] = self.last.get(place, 0), number
            headers.append((OUTBOX, OutboxNumber(topic.owner, number, previous).to_header()))
        await producer.send(topic.name, event.to_bytes(), key.encode(), place.partition, stamp_ms, headers)

    async def orders_close(self, *more: str, wait_s: int = 50) -> tuple[int, str]:
        """What `millpond epoch close` says."""
        keystore, password_file = operators.keystore(self.directory / "operator")
        signing = ("--keystore", keystore, "--password-file", password_file, "--wait", str(wait_s))
        environment = {"MILLPOND_POOL_ID": "pond", "MILLPOND_POOL_CHAIN_ID": "31337"}
        arguments = ("epoch", "close", *more, *signing)
        result = await millpond(*arguments, bootstrap=self.bootstrap, dsn=self.dsn, **environment)
        return result.exit_code, result.output if result.exit_code == 0 else said(result)

    async def hears(self, topic: Topic, kind: type[E], count: int = 1) -> list[E]:
        async def heard() -> list[E]:
            found = [
                kind.model_validate_json(record.value or b"")
                for record in await read_all(self.bootstrap, topic)
                if (record.header(CE_TYPE) or b"").decode() == kind.type_name
            ]
            return found if len(found) >= count else []

        return await wait_until(heard, WITHIN_S)

    async def published(self) -> dict[Place, list[Record]]:
        found: dict[Place, list[Record]] = {}
        for topic in SERVICE.writes:
            for record in await read_all(self.bootstrap, topic):
                found.setdefault(record.place, []).append(record)
        return found

    async def is_caught_up(self) -> None:
        await wait_until(lambda: caught_up(self.bootstrap, self.dsn, SERVICE), CAUGHT_UP_WITHIN_S)

    async def tables(self) -> dict[str, list[tuple[object, ...]]]:
        found = {}
        for table, order in TABLES.items():
            found[table] = await rows(self.dsn, "rewards", f"SELECT * FROM {table} ORDER BY {order}")
        # What was not changed is not there, or there with nothing: both are the same balance.
        found["balances"] = [row for row in found["balances"] if row[-1]]
        return found


@pytest.fixture
def site(own_stack: OwnStack, tmp_path: Path) -> Iterator[Site]:
    """A stack of its own, since rewards' topics have one name each."""
    site = Site(own_stack("kafka", "postgres"), tmp_path)
    yield site
    for worker in site.workers:
        if worker.running:
            worker.kill()
        print(worker.log_tail())


async def test_an_epoch_is_closed_and_ordered_once_through_kills_and_a_lost_database(site: Site) -> None:
    key = make_receipt_key(site.directory / "receipt.key")
    topics = {topic.name: topic for topic in (*SERVICE.reads, *SERVICE.writes, SERVICE.dead_letters, *METERED)}
    await make_topics(site.bootstrap, tuple(topics.values()))
    worker = site.start()
    offered = terms(split=commission(100_000), payout={"challenge_window_s": 1})
    await site.say(offered, ticket(10**18, number=1), line(ANN, 300, number=1), line(BEN, 100, number=2))

    closing_by_command = asyncio.create_task(site.orders_close("--json"))
    (closing,) = await site.hears(REWARDS_EPOCHS, EpochClosing)
    assert closing.ends == {topic.name: (0,) * topic.partitions for topic in METERED}
    worker.kill()
    await site.answer(closing)
    worker = site.start()
    code, output = await closing_by_command
    assert code == 0, output
    shown = json.loads(output)
    assert {each["contributor"]: each["amount"] for each in shown["statements"]} == {
        ANN: "675000000000000000",
        BEN: "225000000000000000",
    }
    (closed,) = await site.hears(REWARDS_EPOCHS, EpochClosed)
    (checkpoint,) = await site.hears(REWARDS_EPOCHS, Checkpoint)
    assert check_checkpoint(checkpoint, closed.to_bytes(), pool="pond", key=key.public) == closed
    worker.kill()
    worker = site.start()
    orders = await site.hears(REWARDS_PAYOUTS, PayoutOrdered, 2)
    plan = planned(0, orders)
    await site.say(plan, *filled(plan), line(ANN, 7, number=3))
    code, output = await site.orders_close("--epoch", "0", wait_s=20)
    assert (code, "The epoch that is open is 1, not 0." in output) == (1, True), output
    await site.is_caught_up()
    worker.terminate()
    known, published = await site.tables(), await site.published()
    assert not known["payouts"]
    assert not known["slots"]

    await lose(site.dsn)
    replaced = await rebuild_database(
        SERVICE, site.dsn, KafkaLog({"bootstrap_servers": site.bootstrap}), now=datetime.now(UTC)
    )
    assert replaced.rebuilt.unlike == 0
    worker = site.start()
    await site.is_caught_up()
    worker.terminate()
    assert await site.tables() == known
    worker = site.start()
    again = asyncio.create_task(site.orders_close())
    await site.answer((await site.hears(REWARDS_EPOCHS, EpochClosing, 2))[1])
    code, output = await again
    assert (code, "There was no income: the work counts in the next epoch." in output) == (0, True), output
    assert (await site.hears(REWARDS_EPOCHS, EpochClosed, 2))[1].previous_root == closed.root
    assert len(await site.hears(REWARDS_STATEMENTS, StatementIssued)) == 3
    for place, records in published.items():
        assert (await site.published())[place][: len(records)] == records


async def lose(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("DROP SCHEMA rewards CASCADE")
    finally:
        await connection.close()
