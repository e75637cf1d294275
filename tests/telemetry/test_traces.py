"""Traces, as a collector receives them: an HTTP server in a thread decodes what the exporter sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest
from opentelemetry import trace
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.semconv._incubating.attributes import messaging_attributes as conventions
from opentelemetry.semconv.attributes import error_attributes

from millpond.settings import TelemetrySettings
from millpond.telemetry.traces import EXPORT_SECONDS_MAX, LINKS_MAX, Tracing, extract, inject, set_up_traces
from telemetry.collector import Collector, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def tracing(collector: Collector) -> Tracing:
    return set_up_traces(TelemetrySettings(otlp_endpoint=collector.url), service="metering")


@dataclass(frozen=True)
class Record:
    topic: str = "agent.results.v1"
    partition: int = 3
    headers: Sequence[tuple[str, bytes | None]] = ()


def written_by(trace_id: int, span_id: int = 1, topic: str = "agent.results.v1", partition: int = 3) -> Record:
    return Record(topic, partition, [("traceparent", f"00-{trace_id:032x}-{span_id:016x}-01".encode())])


def values(span: trace_pb2.Span) -> dict[str, str | int]:
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


def test_a_batch_is_a_span_that_links_to_who_wrote_its_records(tracing: Tracing, collector: Collector) -> None:
    with tracing.consume_span([written_by(1), written_by(2), written_by(2), Record()], group="metering"):
        pass
    tracing.shutdown()
    span = collector.spans["process agent.results.v1"]
    assert [int.from_bytes(link.trace_id, "big") for link in span.links] == [1, 2]
    assert span.kind == trace_pb2.Span.SPAN_KIND_CONSUMER
    assert span.parent_span_id == b""
    assert values(span) == {
        conventions.MESSAGING_SYSTEM: conventions.MessagingSystemValues.KAFKA.value,
        conventions.MESSAGING_OPERATION_NAME: "process",
        conventions.MESSAGING_OPERATION_TYPE: conventions.MessagingOperationTypeValues.PROCESS.value,
        conventions.MESSAGING_DESTINATION_NAME: "agent.results.v1",
        conventions.MESSAGING_DESTINATION_PARTITION_ID: "3",
        conventions.MESSAGING_BATCH_MESSAGE_COUNT: 4,
        conventions.MESSAGING_CONSUMER_GROUP_NAME: "metering",
    }


def test_a_trace_goes_on_through_a_record(tracing: Tracing, collector: Collector) -> None:
    with tracing.consume_span([Record()]):
        decided = Record("metering.usage.v1", 0, inject([("ce_id", b"1")]))
    with tracing.publish_span([decided]):
        pass
    tracing.shutdown()
    consumed, published = collector.spans["process agent.results.v1"], collector.spans["send metering.usage.v1"]
    assert published.kind == trace_pb2.Span.SPAN_KIND_PRODUCER
    assert published.trace_id == consumed.trace_id
    assert published.parent_span_id == consumed.span_id
    assert [link.span_id for link in published.links] == [consumed.span_id]


def test_a_batch_of_several_partitions_names_what_they_share(tracing: Tracing, collector: Collector) -> None:
    with tracing.consume_span([written_by(1, partition=1), written_by(2, partition=2)]):
        pass
    with tracing.consume_span([written_by(1, topic="a"), written_by(2, topic="b")]):
        pass
    tracing.shutdown()
    assert "messaging.destination.partition.id" not in values(collector.spans["process agent.results.v1"])
    assert "messaging.destination.name" not in values(collector.spans["process"])


def test_links_are_bounded(tracing: Tracing, collector: Collector) -> None:
    with tracing.consume_span([written_by(number) for number in range(1, 501)]):
        pass
    tracing.shutdown()
    span = collector.spans["process agent.results.v1"]
    assert len(span.links) == LINKS_MAX
    assert values(span)["messaging.batch.message_count"] == 500


def test_a_failure_is_on_its_span_without_what_it_quotes(tracing: Tracing, collector: Collector) -> None:
    with (
        pytest.raises(OSError, match="refused"),
        tracing.consume_span([Record()]),
    ):
        raise OSError("postgresql://pond:hunter2@db refused")
    tracing.shutdown()
    span = collector.spans["process agent.results.v1"]
    assert span.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert values(span)[error_attributes.ERROR_TYPE] == "OSError"
    assert b"hunter2" not in collector.requests[0].SerializeToString()
    assert b"refused" in collector.requests[0].SerializeToString()


def test_the_collector_is_told_which_service_it_hears(tracing: Tracing, collector: Collector) -> None:
    with tracing.publish_span([Record()]):
        pass
    tracing.shutdown()
    resource = collector.requests[0].resource_spans[0].resource
    found = {a.key: a.value.string_value for a in resource.attributes}
    assert (found["service.namespace"], found["service.name"]) == ("millpond", "metering")


def test_nothing_is_made_or_sent_when_off(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opentelemetry.sdk.trace.TracerProvider.__init__", lambda *a, **k: pytest.fail("made"))
    threads = threading.active_count()
    tracing = set_up_traces(TelemetrySettings(otlp_endpoint=None), service="metering")
    with tracing.consume_span([written_by(1)]) as span:
        assert not span.is_recording()
        assert inject([("ce_id", b"1")]) == [("ce_id", b"1")]
    with tracing.publish_span([written_by(1)]):
        pass
    tracing.shutdown()
    assert threading.active_count() == threads
    assert collector.requests == []


def test_nobody_else_decides_where_spans_go(tracing: Tracing) -> None:
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider"
    tracing.shutdown()


def test_a_collector_that_is_away_does_not_hold_up_a_stop() -> None:
    with socket.socket() as silent:  # accepts, and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = TelemetrySettings(otlp_endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        tracing = set_up_traces(settings, service="metering")
        with tracing.consume_span([Record()]):
            pass
        began = time.monotonic()
        tracing.shutdown()
        assert time.monotonic() - began < EXPORT_SECONDS_MAX + 1.5


def test_our_context_replaces_that_of_the_record_we_read(tracing: Tracing) -> None:
    with tracing.consume_span([written_by(7)]) as span:
        (header,) = inject([("traceparent", b"00-old")])
    context = extract([header])
    tracing.shutdown()
    assert context is not None
    assert (context.trace_id, context.span_id) == (7, span.get_span_context().span_id)


@pytest.mark.parametrize(
    "value", [None, b"", b"\xff", b"nonsense", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"x" * 100_000]
)
def test_a_context_that_cannot_be_read_stops_no_record(value: bytes | None) -> None:
    assert extract([("traceparent", value)]) is None
