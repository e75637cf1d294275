"""From an event on a service's dead-letter topic back to the row that it told of."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from typing import Final

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, ReAdmitted, Resumed, Skipped, Stopped
from millpond.stream.database import DeadLetter, DeadLetterState
from millpond.stream.log import Log, LogEndsBefore, RecordsExpired
from millpond.stream.record import Place

STATES: Final[Mapping[type[DeadLetterEvent], DeadLetterState]] = {
    DeadLettered: "aside",
    Stopped: "stopped",
    Resumed: "resumed",
    Skipped: "skipped",
    ReAdmitted: "readmitted",
}
DONE_BY_COMMAND = (Skipped, ReAdmitted)


async def letter_of(event: DeadLetterEvent, log: Log) -> DeadLetter:
    """The dead letter as it was stored; a value too large to be repeated is read at its old place, if it is still there."""
    place = Place(event.topic, event.partition)
    value = _unpacked(event.value_base64)
    if value is None and event.value_bytes:
        value = await _value_at(place, event.offset, log)
    return DeadLetter(
        place=place,
        offset=event.offset,
        key=_unpacked(event.key_base64),
        value=value,
        headers=tuple((name, _unpacked(text)) for name, text in event.headers),
        timestamp_ms=event.timestamp_ms,
        content_hash=bytes.fromhex(event.content_hash.removeprefix("0x")),
        reason=event.reason,
        state=STATES[type(event)],
    )


async def _value_at(place: Place, offset: int, log: Log) -> bytes | None:
    try:
        async for record in log.read(place, offset, offset + 1):
            return record.value
    except (RecordsExpired, LogEndsBefore):
        return None
    return None


def _unpacked(text: str | None) -> bytes | None:
    return None if text is None else b64decode(text)
