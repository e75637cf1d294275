"""Treasury and chain_watcher as processes on Kafka, PostgreSQL and a chain; rewards as far as a log can tell."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from aiokafka import AIOKafkaProducer

from chain.anvil import KEYS, ORCHESTRATOR, TREASURY
from chain.proxy import Proxy
from chain_watcher.watching import Pool
from millpond.events.envelope import CE_TYPE, Envelope, encode
from millpond.events.event import Event
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.topic import Topic
from millpond.events.topics import TREASURY_SETTLEMENTS, deadletters
from millpond.localstack import LocalStack
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import OUTBOX, OutboxNumber, Place
from millpond_treasury.rules import READS
from rewards.story import TOPIC_OF
from stream import operators
from stream.disasters import millpond, said
from stream.topics_made import make_topics, read_all
from stream.workers import Worker, start_worker, wait_until

# Only what hangs reaches it.
WITHIN_S = 120.0
BLOCK_S = 0.2

E = TypeVar("E", bound=Event)


@dataclass
class Site:
    stack: LocalStack
    pool: Pool
    proxy: Proxy
    directory: Path
    from_block: int
    orders_max: int = 400
    workers: list[Worker] = field(default_factory=list)
    numbers: dict[Place, int] = field(default_factory=dict)
    number: int = 0

    @property
    def bootstrap(self) -> str:
        return self.stack.kafka.bootstrap_servers

    async def open(self) -> None:
        topics = {topic.name: topic for topic in (*READS, TREASURY_SETTLEMENTS, deadletters("treasury"))}
        await make_topics(self.bootstrap, tuple(topics.values()))
        self.start("millpond_chain_watcher", self.proxy.node)

    def pay(self) -> Worker:
        """Another treasury, which asks the chain through the proxy."""
        return self.start("millpond_treasury", self.proxy.url)

    def start(self, program: str, rpc_url: str) -> Worker:
        name = program.removeprefix("millpond_")
        keystore, password_file = operators.keystore(self.directory / "treasury", "0x" + KEYS[3].hex())
        orchestrator, its_password = operators.keystore(self.directory / "orchestrator", "0x" + KEYS[2].hex())
        worker = start_worker(
            self.bootstrap,
            self.stack.postgres.dsn(),
            name,
            program=program,
            log=self.directory / f"{name}-{len(self.workers)}.log",
            environment={
                **self.chain_settings(rpc_url),
                "MILLPOND_POOL_OPERATORS": operators.OPERATOR,
                "MILLPOND_CHAIN_FROM_BLOCK": str(self.from_block),
                "MILLPOND_CHAIN_POLL_S": "0.1",
                "MILLPOND_TREASURY_KEYSTORE": keystore,
                "MILLPOND_TREASURY_PASSWORD_FILE": password_file,
                "MILLPOND_TREASURY_ORCHESTRATOR_KEYSTORE": orchestrator,
                "MILLPOND_TREASURY_ORCHESTRATOR_PASSWORD_FILE": its_password,
                "MILLPOND_TREASURY_ORDERS_MAX": str(self.orders_max),
                "MILLPOND_TREASURY_SEND_AGAIN_S": "1",
            },
        )
        self.workers.append(worker)
        return worker

    def chain_settings(self, rpc_url: str) -> dict[str, str]:
        return {
            "MILLPOND_CHAIN_RPC_URL": rpc_url,
            "MILLPOND_CHAIN_CONTROLLER": self.pool.livepeer.controller,
            "MILLPOND_CHAIN_ORCHESTRATOR": ORCHESTRATOR.address,
            "MILLPOND_CHAIN_TREASURY": TREASURY.address,
            "MILLPOND_CHAIN_PAYOUTS": self.pool.payouts,
        }

    async def blocks(self) -> None:
        """Time passes on the chain."""
        while True:
            await asyncio.sleep(BLOCK_S)
            with suppress(Exception):
                await self.pool.anvil.mine()

    async def say(self, *events: Event) -> None:
        """registry and rewards publish, each record with its number."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for event in events:
                await self._send(producer, event)
            await producer.flush()
        finally:
            await producer.stop()

    async def _send(self, producer: AIOKafkaProducer, event: Event) -> None:
        topic, stamp_ms = TOPIC_OF[type(event)], time.time_ns() // 1_000_000
        key = event.contributor if isinstance(event, PayoutOrdered) else "pond"
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        self.number += 1
        previous, self.numbers[place] = self.numbers.get(place, 0), self.number
        headers = [
            *encode(Envelope(f"{topic.owner}/1", event.type_name, f"/millpond/{topic.owner}", ce_time(stamp_ms))),
            (OUTBOX, OutboxNumber(topic.owner, self.number, previous).to_header()),
        ]
        await producer.send(topic.name, event.to_bytes(), key.encode(), place.partition, stamp_ms, headers)

    async def heard(self, kind: type[E], topic: Topic = TREASURY_SETTLEMENTS) -> list[E]:
        return [
            kind.model_validate_json(record.value or b"")
            for record in await read_all(self.bootstrap, topic)
            if (record.header(CE_TYPE) or b"").decode() == kind.type_name
        ]

    async def hears(self, kind: type[E], count: int = 1) -> list[E]:
        async def enough() -> list[E]:
            found = await self.heard(kind)
            return found if len(found) >= count else []

        return await wait_until(enough, WITHIN_S)

    async def millpond(self, *arguments: str) -> tuple[int, str]:
        keystore, password_file = operators.keystore(self.directory / "operator")
        signing = ("--keystore", keystore, "--password-file", password_file, "--wait", "50")
        environment = {"MILLPOND_POOL_ID": "pond", "MILLPOND_POOL_CHAIN_ID": "31337"}
        result = await millpond(
            *arguments, *signing, bootstrap=self.bootstrap, **environment, **self.chain_settings(self.proxy.url)
        )
        return result.exit_code, said(result)

    def end(self) -> None:
        for worker in self.workers:
            if worker.running:
                worker.kill()


async def balances(pool: Pool, payees: Iterable[str]) -> dict[str, int]:
    return {payee: await pool.anvil.client.balance(payee, "latest") for payee in payees}
