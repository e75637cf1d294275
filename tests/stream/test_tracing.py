"""A trace goes through a worker: from who wrote the input to who reads the output."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from millpond.events.envelope import TRACEPARENT
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.telemetry.traces import extract
from stream.tally import drops_topic, levels_topic, tally
from stream.topics_made import create_topics, new_name, rain, read_all
from stream.workers import Workers, wait_until
from telemetry.collector import Collector, collecting

TRACE_ID, SPAN_ID = 0x1234, 0x5678
WITHIN_S = 120.0


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


async def test_the_trace_of_an_input_goes_on_in_its_output(
    kafka_bootstrap: str, workers: Workers, collector: Collector
) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    (fall,) = rain(1)
    traced = (*fall.headers(), (TRACEPARENT, f"00-{TRACE_ID:032x}-{SPAN_ID:016x}-01".encode()))
    place = Place(drops_topic(name).name, partition_of(fall.key_bytes(), 4))
    publisher = await KafkaPublisher.open({"bootstrap_servers": kafka_bootstrap})
    await (await publisher.send(place, [Outbound(fall.key_bytes(), fall.drop.to_bytes(), traced, fall.stamp_ms)]))
    await publisher.close()
    worker = workers.start(name, MILLPOND_TELEMETRY_OTLP_ENDPOINT=collector.url)

    async def published() -> bool:
        return len(await read_all(kafka_bootstrap, levels_topic(name))) == 1

    await wait_until(published, WITHIN_S)
    # A stop sends what is queued.
    await asyncio.to_thread(worker.terminate)
    spans = collector.spans
    process, send = spans[f"process {drops_topic(name).name}"], spans[f"send {levels_topic(name).name}"]
    assert [(int.from_bytes(link.trace_id, "big"), int.from_bytes(link.span_id, "big")) for link in process.links] == [
        (TRACE_ID, SPAN_ID)
    ]
    (output,) = await read_all(kafka_bootstrap, levels_topic(name))
    context = extract(output.headers)
    assert context is not None
    assert context.trace_id == TRACE_ID
    assert context.span_id.to_bytes(8, "big") == process.span_id
    assert [link.span_id for link in send.links] == [process.span_id]
