"""What a service's dead-letter topic says of each record: where it stood, what is the matter, what can be done. Pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from millpond.events.deadletters import (
    CommandedDeadLetterEvent,
    DeadLettered,
    DeadLetterEvent,
    ReAdmitted,
    Resumed,
    Skipped,
    Stopped,
)
from millpond.events.envelope import CE_TYPE
from millpond.events.operator_commands import OperatorCommanded
from millpond.identity import ReadmitRecord, SkipRecord
from millpond.stream.database import DeadLetterState
from millpond.stream.record import Place, Record

STATES: Final[Mapping[type[DeadLetterEvent], DeadLetterState]] = {
    DeadLettered: "aside",
    Stopped: "stopped",
    Resumed: "resumed",
    Skipped: "skipped",
    ReAdmitted: "readmitted",
}
EVENTS: Final = {event.type_name: event for event in STATES}
# What somebody may still have to do something about; the others are closed.
OPEN: Final[frozenset[DeadLetterState]] = frozenset({"aside", "stopped", "skipped"})

# A value is shown to be recognized, not to be read to its end.
TEXT_CHARACTERS_MAX: Final = 4_096
HEX_BYTES_MAX: Final = 512
HEX_ROW_BYTES: Final = 16

CommandName = Literal["skip", "readmit"]


class Standing(NamedTuple):
    """The place where the record first stood: what names a dead letter."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as its latest event says.

    ``since_ms``: the stamp (Unix milliseconds) of what brought it into this state: the record's own, or the command's.
    """

    standing: Standing
    state: DeadLetterState
    since_ms: int
    event: DeadLetterEvent

    @property
    def command(self) -> CommandName | None:
        """What an operator can order now; the service would refuse the other."""
        if self.state == "stopped":
            return "skip"
        return "readmit" if self.state in ("aside", "skipped") else None

    @property
    def value(self) -> bytes | None:
        """The original's value; None if it had none, or if it is too large to be repeated (``value_is_elsewhere``)."""
        return None if self.event.value_base64 is None else b64decode(self.event.value_base64)

    @property
    def value_is_elsewhere(self) -> bool:
        return self.event.value_base64 is None and self.event.value_bytes > 0

    @property
    def key(self) -> bytes | None:
        return None if self.event.key_base64 is None else b64decode(self.event.key_base64)

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        return [(name, None if value is None else b64decode(value)) for name, value in self.event.headers]


def fold_letters(records: Iterable[Record]) -> dict[Standing, Letter]:
    """The latest word on each dead letter, from a dead-letter topic's records: in order within each partition.

    All events about one record stand in one partition. What is no such event is passed over: a newer service's.
    """
    letters: dict[Standing, Letter] = {}
    for record in records:
        event = letter_event(record)
        if event is not None:
            standing = Standing(event.topic, event.partition, event.offset)
            letters[standing] = Letter(standing, STATES[type(event)], record.timestamp_ms, event)
    return letters


def letter_event(record: Record) -> DeadLetterEvent | None:
    kind = EVENTS.get((record.header(CE_TYPE) or b"").decode(errors="replace"))
    if kind is None or record.value is None:
        return None
    try:
        return kind.model_validate_json(record.value)
    except ValidationError:
        return None


def next_nonce(records: Iterable[Record], *, signer: str, now_ms: int) -> int:
    """The time in Unix milliseconds, or one more than the highest that the service has accepted from this signer.

    Time, so that two machines of one operator need not talk to each other; the service's own word, so that a clock
    that was ahead once doesn't lock its owner out. Commands that nobody has verified don't count: anyone could have
    written the highest number there is.
    """
    accepted = [
        event.nonce
        for event in map(letter_event, records)
        if isinstance(event, CommandedDeadLetterEvent) and event.signer == signer
    ]
    return max(now_ms, *(nonce + 1 for nonce in accepted), 0)


def order(name: CommandName, letter: Letter, *, reason: str, nonce: int) -> SkipRecord | ReadmitRecord:
    """What the operator signs. It names the record's content, so that no other record is meant than was looked at."""
    kind = SkipRecord if name == "skip" else ReadmitRecord
    return kind(
        service=letter.event.service,
        topic=letter.standing.topic,
        partition=letter.standing.partition,
        offset=letter.standing.offset,
        content_hash=letter.event.content_hash,
        reason=reason,
        nonce=nonce,
    )


def answer_to(
    command: OperatorCommanded, published_at: tuple[Place, int], records: Iterable[Record]
) -> DeadLetterEvent | None:
    """The service's answer: Skipped or ReAdmitted with the command's nonce, or DeadLettered, which is a refusal."""
    place, offset = published_at
    for event in map(letter_event, records):
        if isinstance(event, CommandedDeadLetterEvent):
            if (event.signer, event.nonce) == (command.signer, command.message["nonce"]):
                return event
        elif isinstance(event, DeadLettered) and (event.topic, event.partition, event.offset) == (*place, offset):
            return event
    return None


def shown(raw: bytes | None) -> str:
    """Bytes for a person: as text if they are text, otherwise in hexadecimal; cut where it gets long, and said so."""
    if raw is None:
        return "null"
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return hexdump(raw)
    if not all(character.isprintable() or character in "\n\t" for character in text):
        return hexdump(raw)
    if len(text) <= TEXT_CHARACTERS_MAX:
        return text
    return f"{text[:TEXT_CHARACTERS_MAX]}\n… and {len(text) - TEXT_CHARACTERS_MAX} characters more"


def hexdump(raw: bytes) -> str:
    rows = []
    for start in range(0, min(len(raw), HEX_BYTES_MAX), HEX_ROW_BYTES):
        row = raw[start : start + HEX_ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        rows.append(f"{start:08x}  {row.hex(' '):<{HEX_ROW_BYTES * 3 - 1}}  {text}")
    if len(raw) > HEX_BYTES_MAX:
        rows.append(f"… and {len(raw) - HEX_BYTES_MAX} bytes more")
    return "\n".join(rows)
