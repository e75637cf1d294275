"""``<service>.deadletters.v1``: records that a service could not decide, and what became of them. Key: the original's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Address, Base64, Hash32

Count = Annotated[int, Field(strict=True, ge=0)]

Reason = Literal[
    # The bytes can't be read.
    "null_value",
    "too_large",
    "not_json",
    "bad_header",
    "unknown_type",
    "wrong_fields",
    "no_outbox_header",
    "no_item_header",
    # They can, but may not be applied.
    "conflict",
    "gap",
    "poison",
    "refused_command",
]


class DeadLetterEvent(Event):
    """What all events about a dead letter say: the original bytes, where they stood, and why.

    ``content_hash`` is that of key and value (``millpond.stream.record.content_hash``); a command names it, so that
    nobody skips another record than he looked at. ``value_base64`` is null when the record had no value, or when the
    value is too large to be repeated here (``value_bytes`` > 0): then it stands at its old place only. ``timestamp_ms``
    is the record's, in Unix milliseconds.
    """

    service: str
    topic: str
    partition: Count
    offset: Count
    reason: Reason
    # For a person: what was found, and what to do.
    sentence: str
    content_hash: Hash32
    key_base64: Base64 | None
    value_base64: Base64 | None
    value_bytes: Count
    headers: tuple[tuple[str, Base64 | None], ...]
    timestamp_ms: Count


class DeadLettered(DeadLetterEvent):
    """Set aside: the service went on behind it. A topic whose poison rule is *aside* allows that."""


class Stopped(DeadLetterEvent):
    """The partition waits at this record until a fix, or until a signed command skips it."""


class Resumed(DeadLetterEvent):
    """A stopped record was applied after all, where it stands: the reader was fixed."""


class CommandedDeadLetterEvent(DeadLetterEvent):
    """What an operator's signed action did to a dead letter: (``signer``, ``nonce``) names it on operator.commands."""

    signer: Address
    nonce: Count


class Skipped(CommandedDeadLetterEvent):
    """The partition went on behind the record, which was never applied. An audit skips exactly what these name."""


class ReAdmitted(CommandedDeadLetterEvent):
    """The record's new place is that of this event: decided here, exempt from the check of numbers."""
