"""What is fixed about a topic: its key, its partitions, who writes it, who reads it, what unreadable bytes do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Literal

from millpond.events.event import Event

Poison = Literal["stop", "aside"]


class Written(Enum):
    """How the records of a topic come about, and so how a reader tells a repeat from something new."""

    BY_PROCESS = "numbered by the outbox of the service that decided them"
    BY_SOURCE = "identified by what was observed, in the header ``item``; the first in a partition counts"
    BY_ANYONE = "untrusted: neither numbered nor identified until its reader has validated it"


@dataclass(frozen=True, slots=True)
class Topic:
    """One Kafka topic: name ``<domain>.<dataset>.v<N>``, the count of partitions fixed for ever.

    ``retention`` is None for what a dispute may need: kept for ever, never compacted.
    ``items_kept`` says that readers remember every item's identity for ever, because money depends on it.
    """

    name: str
    key: str
    partitions: int
    owner: str
    readers: tuple[str, ...]
    poison: Poison | None
    written: Written = Written.BY_PROCESS
    retention: timedelta | None = None
    items_kept: bool = False
    value_bytes_max: int = 1_048_576
    events: tuple[type[Event], ...] = ()
    event_types: Mapping[str, type[Event]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "event_types", {event.type_name: event for event in self.events})
