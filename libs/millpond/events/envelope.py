"""The envelope of a record: CloudEvents 1.0 in Kafka's binary mode. The event is the value; what is about it, headers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from millpond.errors import MillpondError

CE_SPECVERSION: Final = "ce_specversion"
CE_ID: Final = "ce_id"
CE_TYPE: Final = "ce_type"
CE_SOURCE: Final = "ce_source"
CE_TIME: Final = "ce_time"
CONTENT_TYPE: Final = "content-type"
# W3C Trace Context under its own name, which every tracer knows, and not as an extension of CloudEvents.
TRACEPARENT: Final = "traceparent"

SPECVERSION: Final = "1.0"
JSON: Final = "application/json"


class EnvelopeUnreadable(MillpondError):
    """The header {name} {problem}. The record was not written as CloudEvents 1.0; see libs/millpond/events/README.md."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """``type`` is an event's ``type_name``; ``id`` is unique within ``source``, a URI reference.

    ``time`` is RFC 3339, UTC: the stamp or tick that caused the event, never the writer's clock.
    """

    id: str
    type: str
    source: str
    time: str
    traceparent: str | None = None


def encode(envelope: Envelope) -> tuple[tuple[str, bytes], ...]:
    """The headers, in an order that never varies: a record is sent again with the same bytes."""
    headers = (
        (CE_SPECVERSION, SPECVERSION),
        (CE_TYPE, envelope.type),
        (CE_SOURCE, envelope.source),
        (CE_ID, envelope.id),
        (CE_TIME, envelope.time),
        (CONTENT_TYPE, JSON),
    )
    traced = ((TRACEPARENT, envelope.traceparent),) if envelope.traceparent is not None else ()
    return tuple((name, text.encode()) for name, text in (*headers, *traced))


def decode(headers: Iterable[tuple[str, bytes | None]]) -> Envelope:
    """Reads the headers back; others are ignored, and of two with one name the first counts.

    Raises EnvelopeUnreadable when one is missing, is not UTF-8, or says another version or content type.
    """
    found: dict[str, bytes | None] = {}
    for name, value in headers:
        found.setdefault(name, value)
    _expect(found, CE_SPECVERSION, SPECVERSION)
    _expect(found, CONTENT_TYPE, JSON)
    return Envelope(
        id=_text(found, CE_ID),
        type=_text(found, CE_TYPE),
        source=_text(found, CE_SOURCE),
        time=_text(found, CE_TIME),
        traceparent=_text(found, TRACEPARENT) if found.get(TRACEPARENT) is not None else None,
    )


def _expect(found: dict[str, bytes | None], name: str, wanted: str) -> None:
    text = _text(found, name)
    if text != wanted:
        raise EnvelopeUnreadable(name=name, problem=f"says {text!r} instead of {wanted!r}")


def _text(found: dict[str, bytes | None], name: str) -> str:
    value = found.get(name)
    if not value:
        raise EnvelopeUnreadable(name=name, problem="is missing or empty")
    try:
        return value.decode()
    except UnicodeDecodeError as cause:
        raise EnvelopeUnreadable(name=name, problem="is not UTF-8") from cause
