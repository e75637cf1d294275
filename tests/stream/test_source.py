"""What ``publish`` returned from is on the log; what it raised for may be; a repeat has the same identity and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from millpond.events.envelope import CE_ID, decode
from millpond.stream import backoff
from millpond.stream import source as module
from millpond.stream.log import Publisher
from millpond.stream.memory.log import MemoryLog
from millpond.stream.outlet import OutgoingTooLarge, partition_of
from millpond.stream.record import ITEM, Place, Record, content_hash
from millpond.stream.source import ITEM_BYTES, NotAcknowledged, NotObservable, Observed, Source
from millpond.telemetry.metrics import Metrics
from stream.flaky import Broker
from stream.tally import Drop, drops_topic, levels_topic

DROPS = drops_topic("tally")


def drop(number: int, *, bucket: str = "b", stamp_ms: int = 1_700_000_000_000, **changes: Any) -> Observed:
    facts = {"topic": DROPS, "event": Drop(bucket=bucket, amount=number)}
    return Observed(**{**facts, "key": bucket, "item": f"drop-{number}", "stamp_ms": stamp_ms, **changes})


def place_of(bucket: str) -> Place:
    return Place(DROPS.name, partition_of(bucket.encode(), DROPS.partitions))


def written(log: MemoryLog, bucket: str = "b") -> list[Record]:
    return log.slice(place_of(bucket), 0, 1_000_000)


def items(log: MemoryLog, bucket: str = "b") -> list[str]:
    return [(record.header(ITEM) or b"").decode() for record in written(log, bucket)]


def once(names: Sequence[str]) -> list[str]:
    """The first of each, in order: what a reader that keeps items applies."""
    return list(dict.fromkeys(names))


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST_S", 0.001)
    monkeypatch.setattr(module, "CLOSE_S", 0.2)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
async def broker(log: MemoryLog) -> Broker:
    return Broker(log)


@asynccontextmanager
async def opened(broker: Broker, **options: Any) -> AsyncIterator[Source]:
    async with Source("rain", broker.open, Metrics(service="rain"), **options) as source:
        yield source


async def test_what_is_published_is_on_the_log_when_it_returns(log: MemoryLog, broker: Broker) -> None:
    async with opened(broker) as source:
        await source.publish([drop(1), drop(2, bucket="c")])
        assert items(log) == ["drop-1"]
        assert items(log, "c") == ["drop-2"]
        await source.publish([])


async def test_it_does_not_return_before_the_acknowledgement(log: MemoryLog, broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker) as source:
        publishing = asyncio.create_task(source.publish([drop(1)]))
        await broker.sent.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not publishing.done()
        broker.answers.set()
        await publishing


async def test_a_record_says_what_was_seen_when_and_by_whom(log: MemoryLog, broker: Broker) -> None:
    async with opened(broker) as source:
        await source.publish([drop(1)])
    (record,) = written(log)
    envelope = decode(record.headers)
    assert (envelope.id, envelope.type, envelope.source) == (f"{DROPS.name}/drop-1", "Drop", "/millpond/rain")
    assert envelope.time == "2023-11-14T22:13:20.000Z"
    assert (record.key, record.timestamp_ms) == (b"b", 1_700_000_000_000)
    assert Drop.model_validate_json(record.value or b"") == Drop(bucket="b", amount=1)


async def test_an_item_seen_again_later_has_the_same_identity_and_bytes(log: MemoryLog, broker: Broker) -> None:
    for stamp_ms in (1, 2):
        async with opened(broker) as source:
            await source.publish([drop(1, stamp_ms=stamp_ms)])
    first, second = written(log)
    assert first.timestamp_ms != second.timestamp_ms
    assert content_hash(first.key, first.value) == content_hash(second.key, second.value)
    assert first.header(ITEM) == second.header(ITEM)
    assert first.header(CE_ID) == second.header(CE_ID)


async def test_the_callers_trace_goes_along(log: MemoryLog, broker: Broker) -> None:
    tracer = TracerProvider().get_tracer("test")
    async with opened(broker) as source:
        with tracer.start_as_current_span("request") as span:
            await source.publish([drop(1)])
        await source.publish([drop(2)])
    traced, untraced = written(log)
    assert f"{span.get_span_context().span_id:016x}" in (decode(traced.headers).traceparent or "")
    assert decode(untraced.headers).traceparent is None


@pytest.mark.parametrize("fault", ["before", "after"])
@pytest.mark.parametrize("turn", range(5))
async def test_after_a_failure_the_rest_goes_out_again_in_order(
    log: MemoryLog, broker: Broker, fault: str, turn: int
) -> None:
    broker.fault = {turn: fault}.get
    async with opened(broker) as source:
        for first in range(0, 40, 10):
            await source.publish([drop(number) for number in range(first, first + 10)])
    assert once(items(log)) == [f"drop-{number}" for number in range(40)]
    assert broker.opened == 2
    assert broker.closed == 2


async def test_failure_after_failure_loses_nothing(log: MemoryLog, broker: Broker) -> None:
    broker.fault = {turn: ("before", "after")[turn // 3 % 2] for turn in range(0, 60, 3)}.get
    async with opened(broker) as source:
        await asyncio.gather(*(source.publish([drop(n, bucket=f"b{n % 7}")]) for n in range(200)))
    for bucket in range(7):
        own = [f"drop-{n}" for n in range(200) if n % 7 == bucket]
        assert [item for item in once(items(log, f"b{bucket}")) if item in own] == own


async def test_a_place_that_always_fails_does_not_starve_the_others(log: MemoryLog, broker: Broker) -> None:
    refused = place_of("refused")
    broker.refuses = refused
    assert place_of("b") != refused
    async with opened(broker) as source:
        hopeless = asyncio.create_task(source.publish([drop(0, bucket="refused")]))
        for number in range(1, 30):
            await source.publish([drop(number)])
        assert not hopeless.done()
        hopeless.cancel()
    assert once(items(log)) == [f"drop-{number}" for number in range(1, 30)]


async def test_the_first_of_a_new_publisher_goes_alone(broker: Broker) -> None:
    async with opened(broker) as source:
        await source.publish([drop(number) for number in range(5)])
        await source.publish([drop(number) for number in range(5, 10)])
    assert broker.sends == [1, 4, 5]


async def test_many_callers_share_a_send(broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker) as source:
        publishing = [asyncio.create_task(source.publish([drop(number)])) for number in range(100)]
        await broker.sent.wait()
        broker.answers.set()
        await asyncio.gather(*publishing)
    assert sum(broker.sends) == 100
    assert len(broker.sends) <= 3


async def test_what_is_not_acknowledged_in_time_raises_and_is_forgotten(log: MemoryLog, broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker, patience_s=0.05) as source:
        with pytest.raises(NotAcknowledged, match="2 of 2") as refused:
            await source.publish([drop(1), drop(2)])
        assert "not within 0.05 s" in str(refused.value)
        broker.answers.set()
        source._patience_s = 30
        await source.publish([drop(3)])
        assert not any(source._queues.values())
        assert source._bytes == 0
    assert once(items(log)) in (["drop-1", "drop-3"], ["drop-1", "drop-2", "drop-3"])


async def test_a_caller_that_goes_leaves_nothing_behind(broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker) as source:
        publishing = asyncio.create_task(source.publish([drop(1), drop(2)]))
        await broker.sent.wait()
        publishing.cancel()
        await asyncio.gather(publishing, return_exceptions=True)
        assert source._bytes == 0
        broker.answers.set()
        await source.publish([drop(3)])


async def test_a_full_queue_makes_callers_wait_their_turn(log: MemoryLog, broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker, queue_bytes_max=3 * (ITEM_BYTES + 100)) as source:
        publishing = [asyncio.create_task(source.publish([drop(number)])) for number in range(50)]
        await broker.sent.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert sum(map(len, source._queues.values())) == 3
        broker.answers.set()
        await asyncio.gather(*publishing)
    assert sorted(once(items(log))) == sorted(f"drop-{number}" for number in range(50))


async def test_one_item_larger_than_the_queue_still_goes(log: MemoryLog, broker: Broker) -> None:
    async with opened(broker, queue_bytes_max=1) as source:
        await asyncio.gather(*(source.publish([drop(number)]) for number in range(5)))
    assert len(items(log)) == 5


async def test_closing_finishes_what_is_under_way(log: MemoryLog, broker: Broker) -> None:
    async with opened(broker) as source:
        publishing = asyncio.create_task(source.publish([drop(number) for number in range(10)]))
        await asyncio.sleep(0)
    await publishing
    assert len(items(log)) == 10
    assert broker.closed == broker.opened == 1


async def test_closing_tells_those_it_could_not_serve(broker: Broker) -> None:
    broker.answers.clear()
    async with opened(broker) as source:
        publishing = asyncio.create_task(source.publish([drop(1)]))
        await broker.sent.wait()
    with pytest.raises(NotAcknowledged, match="closed"):
        await publishing
    with pytest.raises(NotAcknowledged, match="closed"):
        await source.publish([drop(2)])


async def test_a_source_that_broke_tells_its_callers(broker: Broker) -> None:
    async def breaks() -> Publisher:
        raise ZeroDivisionError("a bug")

    source = await Source("rain", breaks, Metrics(service="rain")).__aenter__()
    with pytest.raises(NotAcknowledged, match="a bug"):
        await source.publish([drop(1)])
    with pytest.raises(ZeroDivisionError):
        await source.__aexit__(None, None, None)


@pytest.mark.parametrize("wrong", [{"item": ""}, {"topic": levels_topic("tally")}])
async def test_what_has_no_identity_or_no_source_is_refused(broker: Broker, wrong: dict[str, Any]) -> None:
    async with opened(broker) as source:
        with pytest.raises(NotObservable):
            await source.publish([drop(1), drop(2, **wrong)])
    assert broker.sends == []


async def test_what_is_too_large_is_refused_before_anything_is_sent(broker: Broker) -> None:
    small = drops_topic("tally", value_bytes_max=40)
    async with opened(broker) as source:
        with pytest.raises(OutgoingTooLarge):
            await source.publish([drop(1), drop(2, topic=small, event=Drop(bucket="b" * 100, amount=1))])
    assert broker.sends == []
