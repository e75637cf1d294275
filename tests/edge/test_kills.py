"""Whatever is killed, edge or agent, at any moment: nothing that an agent had written down is lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from conftest import OwnStack
from edge.pool import RECEIPT_KEY, PoolLog
from millpond.events.topic import Topic
from millpond.events.topics import AGENT_RESULTS, REGISTRY_MEMBERS, TOPICS
from millpond.identity import load_or_make_device_key
from millpond.settings import KafkaSettings
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.record import ITEM, Place, Record
from millpond_cli.kafka_topics import apply_topics
from stream.workers import Worker, Workers, free_port, wait_until

pytestmark = pytest.mark.long

SEED = int(os.environ.get("SEED", "27"))
KILLS = int(os.environ.get("KILLS", "3"))
# Long enough for a new process to do something before it is killed.
LIFE_S = (0.3, 1.5)
WITHIN_S = 120.0


class Pond:
    """A Kafka and a database for edge and an agent, both of which are killed."""

    def __init__(self, servers: str, dsn: str, directory: Path) -> None:
        self.servers = servers
        self.dsn = dsn
        self.workers = Workers(servers, dsn, directory)
        self._directory = directory
        self._port = str(free_port())
        self.key = load_or_make_device_key(directory / "agent" / "device.key")

    async def make(self) -> None:
        await apply_topics(KafkaSettings(bootstrap_servers=self.servers), list(TOPICS.values()))
        log = PoolLog()
        log.register(self.key.device)
        publisher = await KafkaPublisher.open({"bootstrap_servers": self.servers})
        for each in log.records(REGISTRY_MEMBERS):
            place = Place(each.topic, each.partition)
            await (await publisher.send(place, [Outbound(each.key, each.value, each.headers, each.timestamp_ms)]))
        await publisher.close()

    def edge(self) -> Worker:
        return self.workers.start(
            "edge",
            program="millpond_edge",
            MILLPOND_EDGE_PORT=self._port,
            MILLPOND_EDGE_RECEIPT_KEY=RECEIPT_KEY,
            MILLPOND_BLOBS_URL=str(self._directory / "blobs"),
        )

    def agent(self) -> Worker:
        url = f"http://127.0.0.1:{self._port}"
        directory = str(self._directory / "agent")
        return self.workers.start("agent", program="edge.scribe", SCRIBE_DIRECTORY=directory, SCRIBE_URL=url)

    def recorded(self) -> list[str]:
        """The payloads that the agents say they have written down, in order."""
        lines = [line for worker in self.workers.all for line in worker.log_text().splitlines(keepends=True)]
        return [line[len("recorded ") : -1] for line in lines if line.startswith("recorded {") and line.endswith("}\n")]

    async def on(self, topic: Topic) -> list[Record]:
        """All records of the topic, each partition in order."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.servers, auto_offset_reset="earliest")
        await consumer.start()
        places = [TopicPartition(topic.name, n) for n in range(topic.partitions)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: list[Record] = []
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for batch in (await consumer.getmany(timeout_ms=200)).values():
                found += [
                    Record(r.topic, r.partition, r.offset, r.key, r.value, tuple(r.headers), r.timestamp) for r in batch
                ]
        await consumer.stop()
        return sorted(found, key=lambda record: (record.partition, record.offset))


@pytest.fixture
def pond(own_stack: OwnStack, database: str, tmp_path: Path) -> Iterator[Pond]:
    pond = Pond(own_stack("kafka").kafka.bootstrap_servers, database, tmp_path)
    yield pond
    pond.workers.end()


async def test_claims_survive_the_deaths_of_edge_and_of_the_agent(pond: Pond) -> None:
    await pond.make()
    chance = random.Random(SEED)
    living = [pond.edge(), pond.agent()]
    await wait_until(lambda: "welcome" in living[1].log_text(), WITHIN_S)
    for n in range(KILLS):
        await asyncio.sleep(chance.uniform(*LIFE_S))
        doomed = n % 2
        welcomes = _welcomes(pond)
        living[doomed].kill()
        living[doomed] = (pond.edge, pond.agent)[doomed]()
        # Else there would be nobody to be killed in the middle of something.
        await wait_until(lambda before=welcomes: _welcomes(pond) > before, WITHIN_S)
    living[1].ask_to_end()
    await asyncio.to_thread(living[1].ended)
    results = await pond.on(AGENT_RESULTS)
    _check_whole(pond, results)
    _check_once(results)
    _check_order(results)
    living[0].terminate()
    assert await _last_accepted(pond) == max(_payload(record)["sequence"] for record in results)


def _welcomes(pond: Pond) -> int:
    return sum(worker.log_text().count("welcome") for worker in pond.workers.all)


def _payload(record: Record) -> dict[str, object]:
    return dict(json.loads(json.loads(record.value or b"")["payload"]))


def _check_whole(pond: Pond, results: list[Record]) -> None:
    recorded = pond.recorded()
    assert len(recorded) > KILLS
    assert set(recorded) <= {json.loads(record.value or b"")["payload"] for record in results}


def _check_once(results: list[Record]) -> None:
    """The same item is the same bytes, and stands on one partition: readers drop what they have seen."""
    bytes_of: dict[bytes | None, set[tuple[int, bytes]]] = {}
    for record in results:
        digest = hashlib.sha256(record.value or b"").digest()
        bytes_of.setdefault(record.header(ITEM), set()).add((record.partition, digest))
    assert None not in bytes_of
    assert all(len(forms) == 1 for forms in bytes_of.values())
    claims = {(_payload(record)["job"], record.header("ce_type")) for record in results}
    assert len(claims) == len(bytes_of)


def _check_order(results: list[Record]) -> None:
    """Of each job the first JobStarted stands before the first JobFailed."""
    first: dict[object, list[bytes | None]] = {}
    for record in results:
        kinds = first.setdefault(_payload(record)["job"], [])
        if record.header("ce_type") not in kinds:
            kinds.append(record.header("ce_type"))
    assert {tuple(kinds) for kinds in first.values()} <= {(b"JobStarted", b"JobFailed"), (b"JobStarted",)}


async def _last_accepted(pond: Pond) -> int:
    connection = await asyncpg.connect(pond.dsn)
    try:
        return int(await connection.fetchval("SELECT max(last_accepted) FROM edge.agent_sessions"))
    finally:
        await connection.close()
