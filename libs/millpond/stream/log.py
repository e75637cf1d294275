"""The port to what is on the topics: exact ranges, without a group. Audit, replay, export, rebuild and the relay's start."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from typing import NamedTuple, Protocol

from millpond.errors import MillpondError
from millpond.stream.position import Extent
from millpond.stream.record import Headers, Place, Record


class RecordsExpired(MillpondError):
    """{place} no longer holds offset {start}: it begins at {beginning}. Restore the topic from an export."""


class LogEndsBefore(MillpondError):
    """{place} ends at {end}, before offset {stop} that was asked for."""


class SendFailed(MillpondError):
    """Kafka did not take a record for {place}: {cause}. It is sent again from the first that was not acknowledged."""


class Outbound(NamedTuple):
    """A record to be written. ``timestamp_ms``: Unix milliseconds."""

    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


class Log(Protocol):
    """Records of topics, in order within a partition.

    Offsets are half-open: ``read(place, 10, 20)`` yields those of 10..19 that hold data; a control record's offset
    is passed over. ``read`` waits for the broker. A range that is not there is an error, never a shorter answer.
    """

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        """What is kept of each place; one that doesn't exist holds 0 to 0. Raises ``LogAway``."""
        ...

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """How many partitions each topic has, 0 if it doesn't exist. Raises ``LogAway``."""
        ...

    def read(self, place: Place, start: int, stop: int) -> AsyncIterator[Record]:
        """Raises ``RecordsExpired`` if ``start`` is older than what is kept, ``LogEndsBefore``, ``LogAway``."""
        ...


class Publisher(Protocol):
    """Writes in order per place, as long as nothing fails; after a failure it must not be used again."""

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        """Queues the records behind those sent before; what it returns resolves once Kafka has acknowledged them all.

        It resolves to the offset after the last of them, or raises ``SendFailed``. One call at a time per place.
        """
        ...

    async def close(self) -> None:
        """Bounded in time, whatever state the connection is in."""
        ...
