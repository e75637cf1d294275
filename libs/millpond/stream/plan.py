"""What a batch of one partition comes down to before any transaction: inputs, repeats, poison, a stop. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from pydantic import ValidationError

from millpond.events.envelope import CE_TYPE
from millpond.events.topic import Topic, Written
from millpond.stream.database import DeadLetter, DeadLetterState, Item
from millpond.stream.decision import Received
from millpond.stream.position import Position, StopReason, judge_number
from millpond.stream.record import FILLER, ITEM, OUTBOX, OutboxNumber, Place, Record, content_hash, record_hash

# 9999-12-31T23:59:59.999Z: the last that a calendar has. A broker takes any number.
STAMP_MS_MAX = 253_402_300_799_999
# An escaped NUL in JSON, which PostgreSQL's text can't hold: it would fail in the transaction, again and again.
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
# A dead letter in one of these states has been passed: skipped by command, and perhaps readmitted or aside again since.
PASSED: frozenset[DeadLetterState] = frozenset({"skipped", "readmitted", "aside"})
# A stranger's bytes are quoted in a sentence; a megabyte of them would be an attack on its reader.
QUOTED_CHARACTERS_MAX = 120

PoisonReason = Literal[
    "null_value",
    "too_large",
    "bad_header",
    "no_outbox_header",
    "no_item_header",
    "unknown_type",
    "not_json",
    "wrong_fields",
]


@dataclass(frozen=True, slots=True)
class Poison:
    """Why a record can't be read, with a sentence that says what was found."""

    reason: PoisonReason
    sentence: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Where and why a partition waits. ``letter``: the record at fault; None if it is the log itself."""

    reason: StopReason
    detail: str
    letter: DeadLetter | None = None


class Arrival(NamedTuple):
    """An input with the item it must be the first of, if its topic is written by a source; ``record`` as it stood."""

    received: Received
    item: Item | None
    record: Record


@dataclass(frozen=True, slots=True)
class Plan:
    """What one transaction is to apply of a partition: everything before ``after.next_offset``, and then perhaps a stop."""

    place: Place
    records: Sequence[Record]
    before: Position
    after: Position
    arrivals: tuple[Arrival, ...]
    asides: tuple[tuple[DeadLetter, str], ...]
    resumed: tuple[DeadLetter, ...]
    repeats: int
    stop: Stop | None

    @property
    def moves(self) -> bool:
        return self.after.next_offset != self.before.next_offset


def plan_batch(
    topic: Topic, records: Sequence[Record], position: Position, known: Mapping[int, DeadLetter] | None = None
) -> Plan:
    """Reads ``records``, which start at or after ``position`` with nothing missing between.

    ``known``: the partition's dead letters by offset; one that was skipped by a signed command is passed over.
    """
    known = known or {}
    numbers, last = dict(position.numbers), None
    arrivals: list[Arrival] = []
    asides: list[tuple[DeadLetter, str]] = []
    resumed: list[DeadLetter] = []
    repeats, stop = 0, None
    for record in records:
        letter = known.get(record.offset)
        headers = parsed_headers(record)
        outbox = _outbox_number(headers)
        passed = letter is not None and letter.state in PASSED
        verdict = None if passed else _read(topic, record, headers, outbox, numbers)
        match verdict:
            case Arrival():
                arrivals.append(verdict)
                if letter is not None and letter.state == "stopped":
                    resumed.append(replace(letter, state="resumed"))
            case None:
                repeats += 1
            case Poison() if topic.poison == "aside":
                asides.append((dead_letter(record, verdict.reason, "aside"), verdict.sentence))
            case Poison():
                stop = Stop("poison", verdict.sentence, dead_letter(record, verdict.reason, "stopped"))
                break
            case Stop():
                stop = verdict
                break
        if isinstance(outbox, OutboxNumber) and topic.written is Written.BY_PROCESS:
            # A poison's number counts as seen, too (STREAM 16). Elsewhere anyone could have written it, of any source.
            numbers[outbox.source] = max(outbox.number, numbers.get(outbox.source, 0))
        last = record
    after = position if last is None else Position(last.offset + 1, record_hash(last), numbers)
    place = Place(topic.name, records[0].partition)
    return Plan(place, records, position, after, tuple(arrivals), tuple(asides), tuple(resumed), repeats, stop)


def parsed_headers(record: Record) -> ParsedHeaders:
    """Of two with one name the first counts."""
    return dict(reversed(record.headers))


def dead_letter(record: Record, reason: str, state: Literal["aside", "stopped"]) -> DeadLetter:
    return DeadLetter(
        place=record.place,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=record.headers,
        timestamp_ms=record.timestamp_ms,
        content_hash=content_hash(record.key, record.value),
        reason=reason,
        state=state,
    )


def decode(topic: Topic, record: Record) -> Received | Poison:
    """The event of a record, or why there is none."""
    if record.value is None:
        return Poison("null_value", "The record has no value.")
    if len(record.value) > topic.value_bytes_max:
        return Poison(
            "too_large", f"The value has {len(record.value)} bytes; {topic.name} allows {topic.value_bytes_max}."
        )
    if not 0 <= record.timestamp_ms <= STAMP_MS_MAX:
        return Poison("bad_header", f"The timestamp is {record.timestamp_ms} ms, which no calendar has.")
    try:
        event_type = (record.header(CE_TYPE) or b"").decode()
        # A dead letter's key is the original's, whatever that was; nothing is kept under it.
        key = (record.key or b"").decode(errors="strict" if topic.poison else "backslashreplace")
    except UnicodeDecodeError as cause:
        return Poison("bad_header", f"The key or the header {CE_TYPE} is not UTF-8: {cause.reason}.")
    if "\0" in key and topic.poison:
        return Poison("bad_header", "The key holds a NUL, which no database text can.")
    model = topic.event_types.get(event_type)
    if model is None:
        return Poison(
            "unknown_type",
            f"{CE_TYPE} says {_quoted(event_type)}; {topic.name} carries {', '.join(topic.event_types)}.",
        )
    if b"\\u0000" in record.value and _ESCAPED_NUL.search(record.value):
        return Poison("wrong_fields", f"{event_type}: a text holds a NUL, which no database text can.")
    try:
        event = model.model_validate_json(record.value)
    except ValidationError as cause:
        first = cause.errors(include_url=False)[0]
        reason: PoisonReason = "not_json" if first["type"] == "json_invalid" else "wrong_fields"
        return Poison(
            reason, f"{event_type}: {'.'.join(map(str, first['loc']))} {first['msg']} ({cause.error_count()} in all)."
        )
    return Received(
        topic.name,
        record.place,
        record.offset,
        key,
        event,
        record.timestamp_ms,
        record.value,
        record=record,
    )


ParsedHeaders = Mapping[str, bytes | None]


def arrive(topic: Topic, record: Record, headers: ParsedHeaders) -> Arrival | Poison:
    """The event of a record with the item that it must be the first of, wherever the record stands."""
    decoded = decode(topic, record)
    if isinstance(decoded, Poison):
        return decoded
    if not topic.items_kept:
        return Arrival(decoded, None, record)
    return _identify(decoded, record, headers)


def _outbox_number(headers: ParsedHeaders) -> OutboxNumber | bytes | None:
    """The number; the header itself if it can't be read; None if there is none."""
    header = headers.get(OUTBOX)
    if header is None:
        return None
    try:
        return OutboxNumber.from_header(header)
    except ValueError:
        return header


def _read(
    topic: Topic,
    record: Record,
    headers: ParsedHeaders,
    outbox: OutboxNumber | bytes | None,
    numbers: Mapping[str, int],
) -> Arrival | Poison | Stop | None:
    """None: passed over, since it is a filler of a restore or a relay's repeat."""
    if FILLER in headers:
        return None
    if topic.written is Written.BY_PROCESS:
        order = _check_number(record, outbox, numbers)
        if order != "apply":
            return None if order == "repeat" else order
    return arrive(topic, record, headers)


def _check_number(
    record: Record, outbox: OutboxNumber | bytes | None, numbers: Mapping[str, int]
) -> Literal["apply", "repeat"] | Poison | Stop:
    if outbox is None:
        return Poison("no_outbox_header", "Only the topic's owner writes here, with a number; this record has none.")
    if isinstance(outbox, bytes):
        return Poison("bad_header", f"The header {OUTBOX} is {_quoted(outbox)}; it says 'source number previous'.")
    verdict = judge_number(numbers, outbox)
    if verdict == "gap":
        seen = numbers.get(outbox.source, 0)
        detail = f"{outbox.source} {outbox.number} follows {outbox.previous}; seen was {seen}."
        return Stop("gap", detail, dead_letter(record, "gap", "stopped"))
    return verdict


def _identify(received: Received, record: Record, headers: ParsedHeaders) -> Arrival | Poison:
    header = headers.get(ITEM)
    if not header:
        return Poison("no_item_header", f"The header {ITEM} that says which item this is, is missing.")
    try:
        identity = header.decode()
    except UnicodeDecodeError:
        return Poison("bad_header", f"The header {ITEM} is not UTF-8: {_quoted(header)}.")
    if "\0" in identity:
        return Poison("bad_header", f"The header {ITEM} holds a NUL: {_quoted(header)}.")
    return Arrival(received, Item(received.topic, identity, content_hash(record.key, record.value)), record)


def _quoted(found: str | bytes) -> str:
    text = ascii(found)
    return text if len(text) <= QUOTED_CHARACTERS_MAX else f"{text[:QUOTED_CHARACTERS_MAX]}…"
