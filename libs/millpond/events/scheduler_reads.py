"""``scheduler.reads.v1``: what the scheduler had seen when it decided. Key: the scheduler."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Instant

Offset = Annotated[int, Field(strict=True, ge=0)]


class ReadUpTo(Event):
    """Once per transaction that decided something or put a request aside: its tick, and how far each input had been read.

    An audit decides from exactly these.

    ``positions`` holds, by topic, the next offset of each partition in order: ``[3, 0]`` is partition 0 up to 3 (excluded).
    """

    as_of: Instant
    positions: dict[str, tuple[Offset, ...]]
