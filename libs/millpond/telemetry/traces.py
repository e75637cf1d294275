"""Traces through Kafka: a record carries its writer's context, and the span that reads it links back to that.

Names and attributes follow OpenTelemetry's semantic conventions for messaging. Nothing here is global: who has no
``Tracing`` with an endpoint pays a context manager that does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from itertools import islice
from typing import Final, Literal, Protocol
from uuid import uuid4

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from millpond.redaction import redacted_text
from millpond.settings.telemetry import TelemetrySettings

Headers = Sequence[tuple[str, bytes | None]]
Operation = Literal["process", "send"]

TRACEPARENT: Final = "traceparent"

# A batch holds up to 500 records; a span with a link to each would be larger than the records. The first ones show the way.
LINKS_MAX: Final = 64
# A collector that is away must not hold up a service that stops: a standby is waiting.
EXPORT_SECONDS_MAX: Final = 3.0
QUEUED_SPANS_MAX: Final = 2048

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_KINDS: Final[Mapping[Operation, SpanKind]] = {"process": SpanKind.CONSUMER, "send": SpanKind.PRODUCER}
_OFF: Final = nullcontext(trace.INVALID_SPAN)


class Traced(Protocol):
    """What a span needs to know of a record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def headers(self) -> Headers: ...


def inject(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """``headers`` and the current span as ``traceparent``; in place of one that is there. Without a span: unchanged."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    if TRACEPARENT not in carrier:
        return list(headers)
    kept = [(name, value) for name, value in headers if name != TRACEPARENT]
    return [*kept, (TRACEPARENT, carrier[TRACEPARENT].encode())]


def extract(headers: Headers) -> SpanContext | None:
    """The context that the writer left in ``headers``; None if there is none, or it can't be read: that stops no record."""
    return _context(_traceparent(headers))


class Tracing:
    """The spans of one service. ``shutdown`` sends what is queued, for at most some ``EXPORT_SECONDS_MAX``."""

    def __init__(self, *, service: str, provider: TracerProvider | None) -> None:
        self.service = service
        self.provider = provider  # FastStream's and others' instrumentation can be given the same one
        self._tracer = provider.get_tracer("millpond", version("millpond")) if provider else None

    def consume_span(self, records: Sequence[Traced], *, group: str | None = None) -> AbstractContextManager[Span]:
        """Around the deciding of ``records``, of one partition or several; what it publishes carries this span."""
        return self._span("process", records, group)

    def publish_span(self, records: Sequence[Traced]) -> AbstractContextManager[Span]:
        """Around the sending of ``records``; it links to the spans that decided them."""
        return self._span("send", records, None)

    def shutdown(self) -> None:
        if self.provider is not None:
            self.provider.shutdown()

    def _span(self, operation: Operation, records: Sequence[Traced], group: str | None) -> AbstractContextManager[Span]:
        return _OFF if self._tracer is None else _recording(self._tracer, operation, records, group)


def set_up_traces(settings: TelemetrySettings, *, service: str) -> Tracing:
    """Sends spans to the OTLP/HTTP receiver of ``settings``; without an endpoint nothing is made or sent."""
    if settings.otlp_endpoint is None:
        return Tracing(service=service, provider=None)
    # Here and not above: it brings an HTTP client, which a program without traces needn't load.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    provider = TracerProvider(
        resource=Resource.create(
            {
                "service.namespace": "millpond",
                "service.name": service,
                "service.version": version("millpond"),
                "service.instance.id": str(uuid4()),
            }
        ),
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
        # The service calls shutdown when it stops; an exit hook beside that would send, and wait, again.
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS_MAX)
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUED_SPANS_MAX))
    return Tracing(service=service, provider=provider)


@contextmanager
def _recording(
    tracer: trace.Tracer, operation: Operation, records: Sequence[Traced], group: str | None
) -> Iterator[Span]:
    topics = {record.topic for record in records}
    writers = _writers(records)
    # Where all records come from one span, this one continues its trace; of several, none is the parent.
    parent = trace.set_span_in_context(trace.NonRecordingSpan(writers[0])) if len(writers) == 1 else None
    with tracer.start_as_current_span(
        f"{operation} {topics.pop()}" if len(topics) == 1 else operation,
        context=parent,
        kind=_KINDS[operation],
        attributes=_attributes(operation, records, group),
        links=[Link(writer) for writer in writers],
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            # Not the SDK's record_exception: it sends the traceback unredacted.
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(Status(StatusCode.ERROR, redacted_text(str(error))))
            raise


def _writers(records: Sequence[Traced]) -> list[SpanContext]:
    """The different contexts of ``records``, in order, at most ``LINKS_MAX``."""
    # Told apart as bytes, since parsing 500 of the same would take longer than deciding them.
    different = dict.fromkeys(_traceparent(record.headers) for record in records)
    return list(islice((context for value in different if (context := _context(value))), LINKS_MAX))


def _traceparent(headers: Headers) -> bytes | None:
    return next((value for name, value in headers if name == TRACEPARENT), None)


def _context(traceparent: bytes | None) -> SpanContext | None:
    if not traceparent or not traceparent.isascii():
        return None
    context = _PROPAGATOR.extract({TRACEPARENT: traceparent.decode("ascii")})
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def _attributes(operation: Operation, records: Sequence[Traced], group: str | None) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.batch.message_count": len(records),
    }
    topics = {record.topic for record in records}
    partitions = {(record.topic, record.partition) for record in records}
    if len(topics) == 1:
        attributes["messaging.destination.name"] = topics.pop()
    if len(partitions) == 1:
        attributes["messaging.destination.partition.id"] = str(partitions.pop()[1])
    if group is not None:
        attributes["messaging.consumer.group.name"] = group
    return attributes
