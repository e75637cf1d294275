"""The audit over a real Kafka: of the cluster, and of the bundle that was exported from it."""

from __future__ import annotations

import json
from pathlib import Path

from aiokafka import AIOKafkaProducer

from audit.topics import Pond
from conftest import OwnStack
from millpond.events.topics import REWARDS_STATEMENTS, TOPICS
from millpond.stream.memory.log import MemoryLog
from millpond.stream.record import OUTBOX, OutboxNumber, Place, Record
from rewards.story import ANN, BEN, ticket
from stream.disasters import millpond, said
from stream.topics_made import make_topics


async def test_what_stands_on_kafka_is_audited_and_exported_and_a_forged_statement_is_named(
    own_stack: OwnStack, tmp_path: Path
) -> None:
    pond = Pond().begin().work(ANN, "a").work(BEN, "b").tell(ticket(10**18, number=1))
    pond.close()
    pond.wait(100)
    pond.work(ANN, "c", claims=5)
    pond.close()
    stack = own_stack("kafka")
    bootstrap = stack.kafka.bootstrap_servers
    await make_topics(bootstrap, tuple(TOPICS.values()))
    await copy(pond.log(), bootstrap)

    result = await millpond("audit", "--json", bootstrap=bootstrap)
    assert result.exit_code == 0, result.output
    audited = json.loads(result.stdout)
    assert (audited["audit"], audited["epochs"], audited["lines"]) == ("match", [0, 1], 3)
    directory = tmp_path / "bundle"
    result = await millpond("export", "--epoch", "1", str(directory), bootstrap=bootstrap)
    assert result.exit_code == 0, result.output
    result = await millpond("audit", "--bundle", str(directory), bootstrap="nobody:1")
    assert (result.exit_code, "It all comes out: epochs 1 to 1, 1 usage lines" in result.output) == (0, True), (
        result.output
    )

    await say_once_more(bootstrap, pond.own)
    result = await millpond("audit", "--epoch", "0", bootstrap=bootstrap)
    assert result.exit_code == 1
    assert "Epoch 0 has more statements than it should. published 3 comes out 2" in said(result)


async def say_once_more(bootstrap: str, own: list[Record]) -> None:
    """A third statement for the first epoch, numbered as if rewards had published it."""
    statement = next(record for record in own if record.topic == REWARDS_STATEMENTS.name)
    last = [record for record in own if record.place == statement.place][-1]
    number = OutboxNumber.from_header(last.header(OUTBOX) or b"").number
    headers = [("ce_type", b"StatementIssued"), (OUTBOX, OutboxNumber("rewards", number + 1, number).to_header())]
    value = (statement.value or b"").replace(b'"index":', b'"index":9')
    async with AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        await producer.send_and_wait(statement.topic, value, statement.key, statement.partition, None, headers)


async def copy(log: MemoryLog, bootstrap: str) -> None:
    """Every record to its place; a new partition gives them the same offsets."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
    await producer.start()
    try:
        for topic in TOPICS.values():
            for partition in range(topic.partitions):
                place = Place(topic.name, partition)
                for record in log.slice(place, 0, log.extent(place).end):
                    sent = (record.value, record.key, partition, record.timestamp_ms, list(record.headers))
                    await producer.send(topic.name, *sent)
        await producer.flush()
    finally:
        await producer.stop()
