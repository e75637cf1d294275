"""``rewards.epochs.v1``: the pool's accounting periods. Key: the pool."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Instant

Offset = Annotated[int, Field(strict=True, ge=0)]


class EpochClosing(Event):
    """The epoch's end is near: metering answers for everything below ``ends`` with a watermark per partition.

    ``ends``: by topic, the next offset of each partition in order, at the tick ``as_of``.
    """

    epoch: Annotated[int, Field(strict=True, ge=0)]
    ends: dict[str, tuple[Offset, ...]]
    as_of: Instant
