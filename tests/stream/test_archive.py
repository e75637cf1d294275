"""Export, and restore into a new cluster: the same bytes at the same offsets, and readers go on there (STREAM 15)."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer

from millpond.events.topic import Topic
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.localstack import LocalStack
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.retention import delete_before
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.stream.recovery.archive import Manifest
from stream.disasters import millpond, run_until_caught_up, said
from stream.tally import drops_topic, levels_topic, tally
from stream.topics_made import Fall, applied_once, create_topics, levels, make_topics, new_name, produce, rain, read_all

FALLS = 90
EXPIRED = 5


async def produce_in_transactions(bootstrap: str, topic: Topic, falls: Sequence[Fall]) -> None:
    """Each transaction leaves a control record behind: an offset without data, also at the end."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=topic.name)
    await producer.start()
    try:
        for first in range(0, len(falls), 10):
            async with producer.transaction():
                for fall in falls[first : first + 10]:
                    await producer.send(
                        topic.name,
                        fall.drop.to_bytes(),
                        fall.key_bytes(),
                        partition_of(fall.key_bytes(), topic.partitions),
                        timestamp_ms=fall.stamp_ms,
                        headers=fall.headers(),
                    )
    finally:
        await producer.stop()


async def test_readers_go_on_in_a_new_cluster_as_if_nothing_had_happened(
    kafka_bootstrap: str, database: str, own_stack: Callable[..., LocalStack], tmp_path: Path
) -> None:
    name, archive = new_name(), tmp_path / "archive"
    service, drops = tally(name), drops_topic(name)
    topics = (drops, levels_topic(name), service.dead_letters, OPERATOR_COMMANDS)
    await create_topics(kafka_bootstrap, service)
    await produce_in_transactions(kafka_bootstrap, drops, rain(FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service, control_records=1)
    await delete_before({"bootstrap_servers": kafka_bootstrap}, {Place(drops.name, 0): EXPIRED})
    chosen = [word for topic in topics for word in ("--topic", topic.name)]

    exported = await millpond("topics", "export", str(archive), *chosen, bootstrap=kafka_bootstrap)
    assert exported.exit_code == 0, said(exported)
    extents = await KafkaLog({"bootstrap_servers": kafka_bootstrap}).extents(
        [Place(topic.name, partition) for topic in topics for partition in range(topic.partitions)]
    )
    records = {topic.name: await read_all(kafka_bootstrap, topic) for topic in topics}
    parts = {part.place: part for part in Manifest.read(archive).parts}
    assert {place: (part.beginning, part.end) for place, part in parts.items()} == {
        place: (extent.beginning, extent.end) for place, extent in extents.items()
    }
    # Control records are holes: there is something to fill.
    assert sum(part.end - part.beginning - part.records for part in parts.values()) >= FALLS / 10

    new = own_stack("kafka").kafka.bootstrap_servers
    await make_topics(new, topics)
    restored = await millpond("topics", "restore", str(archive), bootstrap=new)
    assert restored.exit_code == 0, said(restored)
    assert await KafkaLog({"bootstrap_servers": new}).extents(list(extents)) == extents
    for topic in topics:
        assert [r for r in await read_all(new, topic) if not r.is_filler] == records[topic.name]
    again = await millpond("topics", "restore", str(archive), bootstrap=new)
    assert again.exit_code == 1
    assert f"{drops.name}[1] is not empty" in said(again)

    await produce(new, name, rain(FALLS, first=FALLS))
    await run_until_caught_up(new, database, service)
    after = await read_all(new, levels_topic(name))
    assert [record for record in after if record in records[levels_topic(name).name]] == records[
        levels_topic(name).name
    ]
    found = [level for each in applied_once(after).values() for level in levels(each)]
    last = {level.bucket: level for level in sorted(found, key=lambda level: level.drops)}
    assert len(found) == 2 * FALLS == sum(level.drops for level in last.values())
    assert sum(level.total for level in last.values()) == sum(
        fall.drop.amount for first in (0, FALLS) for fall in rain(FALLS, first=first)
    )


async def test_what_was_changed_in_an_archive_is_named_and_nothing_is_written(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    name, archive = new_name(), tmp_path / "archive"
    drops, elsewhere = drops_topic(name), drops_topic(new_name())
    await make_topics(kafka_bootstrap, [drops, elsewhere])
    await produce(kafka_bootstrap, name, rain(FALLS))
    exported = await millpond("topics", "export", str(archive), "--topic", drops.name, bootstrap=kafka_bootstrap)
    assert exported.exit_code == 0, said(exported)
    # Restored under another name, so that one cluster serves as both.
    manifest, file = archive / "manifest.json", archive / drops.name / "2.jsonl.gz"
    document = json.loads(manifest.read_text())
    document["partitions"] = {elsewhere.name: drops.partitions}
    for part in document["parts"]:
        part["topic"] = elsewhere.name
    manifest.write_text(json.dumps(document))
    whole = file.read_bytes()

    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    file.write_bytes(flipped)
    await _is_refused(kafka_bootstrap, archive, elsewhere, f"{drops.name}/2.jsonl.gz")

    # Compressed anew with the right sum in the manifest: the records themselves are still told apart.
    lines = gzip.decompress(whole).splitlines(keepends=True)
    file.write_bytes(gzip.compress(b"".join([*lines[:3], *lines[4:]])))
    await _is_refused(kafka_bootstrap, archive, elsewhere, "its SHA-256")
    _put_sum(manifest, file)
    await _is_refused(kafka_bootstrap, archive, elsewhere, "the number of records")

    later = lines[3].replace(b'"timestamp_ms":1', b'"timestamp_ms":2')
    file.write_bytes(gzip.compress(b"".join([*lines[:3], later, *lines[4:]])))
    _put_sum(manifest, file)
    await _is_refused(kafka_bootstrap, archive, elsewhere, "the hash of the lines")


def _put_sum(manifest: Path, file: Path) -> None:
    document = json.loads(manifest.read_text())
    document["parts"][2]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(document))


async def _is_refused(bootstrap: str, archive: Path, topic: Topic, words: str) -> None:
    restored = await millpond("topics", "restore", str(archive), bootstrap=bootstrap)
    assert restored.exit_code == 1
    assert words in said(restored)
    assert await read_all(bootstrap, topic) == []
