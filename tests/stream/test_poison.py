"""Records that can't be read: set aside, or waited at until an operator's signed word; never lost, and nothing else with them."""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, Stopped
from millpond.events.topic import Topic, Written
from millpond.stream.record import OUTBOX, Place, Record, content_hash
from millpond_cli.letters import letter_event
from stream import operators
from stream.in_process import running
from stream.operators import OPERATOR, signed
from stream.poisons import Raw, drop, item_poisons, number_poisons, poisons, put
from stream.tally import dead_letters_topic, drops_topic, tally
from stream.topics_made import create_topics, new_name, read_all
from stream.workers import wait_until

VALUE_BYTES_MAX = 2_000
WITHIN_S = 120.0


def kinds(written: Written) -> dict[str, tuple[Raw, str]]:
    everywhere = poisons(VALUE_BYTES_MAX)
    if written is Written.BY_SOURCE:
        return everywhere | item_poisons()
    if written is Written.BY_PROCESS:
        # Numbered by the one before it, so that the number is not what is wrong.
        numbered = {name: (raw.having(OUTBOX, b"rain 2 1"), reason) for name, (raw, reason) in everywhere.items()}
        return numbered | number_poisons()
    return everywhere


def service_reading(name: str, poison: str, written: Written, partitions: int, shape: str = "grouped") -> Any:
    topic = drops_topic(
        name,
        poison=poison,
        written=written,
        items_kept=written is Written.BY_SOURCE,
        partitions=partitions,
        value_bytes_max=VALUE_BYTES_MAX,
    )
    return replace(tally(name, shape, reads=(topic,)), dead_letters=dead_letters_topic(name, partitions))


async def events_on(bootstrap: str, name: str) -> list[DeadLetterEvent]:
    found = map(letter_event, await read_all(bootstrap, dead_letters_topic(name)))
    return [event for event in found if event is not None]


async def drops_counted(dsn: str, name: str) -> dict[str, tuple[int, int]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(f'SELECT * FROM "{name}".buckets')
    finally:
        await connection.close()
    return {row["bucket"]: (row["total"], row["drops"]) for row in rows}


def is_verbatim(event: DeadLetterEvent, record: Record) -> bool:
    """Whether the dead letter holds the record as it stood: nothing is lost by setting it aside."""
    value = None if event.value_base64 is None else b64decode(event.value_base64)
    key = None if event.key_base64 is None else b64decode(event.key_base64)
    headers = tuple((name, None if text is None else b64decode(text)) for name, text in event.headers)
    return (
        (event.topic, event.partition, event.offset) == (*record.place, record.offset)
        and (key, value, headers) == (record.key, record.value, record.headers)
        and event.content_hash == "0x" + content_hash(record.key, record.value).hex()
        and event.value_bytes == len(record.value or b"")
    )


def around(poison: Raw, partition: int, written: Written) -> list[Raw]:
    """A good record, the poison, a good record."""
    numbers = (1, 3) if written is Written.BY_PROCESS else (0, 0)
    first = drop(f"before-{partition}", partition, bucket="before", number=numbers[0])
    last = drop(f"after-{partition}", partition, bucket="after", number=numbers[1])
    if written is Written.BY_PROCESS and dict(poison.headers).get(OUTBOX) != b"rain 2 1":
        # One that bears no readable number can't be counted: the next follows the one before it.
        last = last.having(OUTBOX, b"rain 3 1")
    return [first, replace(poison, partition=partition), last]


@pytest.mark.parametrize(
    ("written", "shape"),
    [(Written.BY_SOURCE, "grouped"), (Written.BY_PROCESS, "single_active"), (Written.BY_ANYONE, "grouped")],
)
async def test_on_an_aside_topic_each_poison_goes_to_the_dead_letters_and_all_others_are_applied(
    kafka_bootstrap: str, database: str, written: Written, shape: str
) -> None:
    name, bad = new_name(), kinds(written)
    service = service_reading(name, "aside", written, len(bad), shape)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0]
    records = [raw for n, (poison, _) in enumerate(bad.values()) for raw in around(poison, n, written)]
    await put(kafka_bootstrap, topic.name, records)
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(
            lambda: sum(letter_count(instance, topic, reason) for reason in {r for _, r in bad.values()}) == len(bad),
            WITHIN_S,
        )
        await wait_until(lambda: applied_count(instance, topic) == 2 * len(bad), WITHIN_S)
        assert instance.stops() == {}
    assert await drops_counted(database, name) == {"before": (len(bad), len(bad)), "after": (len(bad), len(bad))}
    events = await events_on(kafka_bootstrap, name)
    stood = {(record.partition, record.offset): record for record in await read_all(kafka_bootstrap, topic)}
    assert len(events) == len(bad)
    for event in events:
        kind, (_, reason) = list(bad.items())[event.partition]
        assert isinstance(event, DeadLettered), kind
        assert (event.offset, event.reason) == (1, reason), kind
        if kind == "before all time":
            event = event.model_copy(update={"timestamp_ms": -(10**17)})
        assert is_verbatim(event, stood[event.partition, 1]), kind


def letter_count(instance: Any, topic: Topic, reason: str) -> float:
    return instance.metrics.value("millpond_stream_dead_letters_total", topic=topic.name, reason=reason) or 0


def applied_count(instance: Any, topic: Topic) -> float:
    return instance.metrics.value("millpond_stream_records_total", topic=topic.name) or 0


@pytest.mark.parametrize(("written", "shape"), [(Written.BY_SOURCE, "single_active"), (Written.BY_PROCESS, "grouped")])
async def test_on_a_stop_topic_the_partition_waits_at_each_poison_says_why_and_goes_on_after_a_signed_skip(
    kafka_bootstrap: str, database: str, written: Written, shape: str
) -> None:
    name, bad = new_name(), kinds(written)
    service = service_reading(name, "stop", written, len(bad), shape)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0]
    records = [raw for n, (poison, _) in enumerate(bad.values()) for raw in around(poison, n, written)]
    await put(kafka_bootstrap, topic.name, records)
    places = {Place(topic.name, partition) for partition in range(len(bad))}
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        await wait_until(lambda: instance.stops() == dict.fromkeys(places, "poison"), WITHIN_S)
        # What comes before is applied, what comes behind is not, and everybody can see it.
        assert await drops_counted(database, name) == {"before": (len(bad), len(bad))}
        assert set(instance.why_not_ready()) >= {f"{place} is stopped: poison" for place in places}
        assert all(instance.stopped_metric(place, "poison") == 1 for place in places)
        await wait_until(lambda: has_events(kafka_bootstrap, name, len(bad)), WITHIN_S)
        stopped = await events_on(kafka_bootstrap, name)
        assert {type(event) for event in stopped} == {Stopped}
        assert {event.partition: event.reason for event in stopped} == {
            partition: reason for partition, (_, reason) in enumerate(bad.values())
        }
        await operators.publish(
            kafka_bootstrap, *(signed(operators.skip(event, nonce)) for nonce, event in enumerate(stopped))
        )
        await wait_until(lambda: applied_count(instance, topic) == 2 * len(bad), WITHIN_S)
        assert instance.stops() == {}
        assert all(instance.stopped_metric(place, "poison") == 0 for place in places)
    assert await drops_counted(database, name) == {"before": (len(bad), len(bad)), "after": (len(bad), len(bad))}
    told = Counter(event.type_name for event in await events_on(kafka_bootstrap, name))
    assert told == {"Stopped": len(bad), "Skipped": len(bad)}


async def has_events(bootstrap: str, name: str, count: int) -> bool:
    return len(await read_all(bootstrap, dead_letters_topic(name))) == count


async def test_headers_and_keys_that_no_dead_letter_can_hold_are_left_at_their_place(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service = tally(name, reads=(drops_topic(name, poison="aside"),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0]
    unknown = drop("unknown").having("ce_type", b"Flood")
    await put(
        kafka_bootstrap,
        topic.name,
        [
            unknown.having("huge", b"h" * 900_000),
            replace(unknown, headers=(*unknown.headers, *((str(n), b"") for n in range(20_000)))),
            replace(unknown, key=b"k" * 900_000),
            drop("good"),
        ],
    )
    async with running(service, kafka_bootstrap, database) as instance:
        await wait_until(lambda: has_events(kafka_bootstrap, name, 3), WITHIN_S)
        assert instance.stops() == {}
    assert await drops_counted(database, name) == {"b": (1, 1)}
    events = await events_on(kafka_bootstrap, name)
    stood = {record.offset: record for record in await read_all(kafka_bootstrap, topic)}
    for event in events:
        record = stood[event.offset]
        assert event.content_hash == "0x" + content_hash(record.key, record.value).hex()
