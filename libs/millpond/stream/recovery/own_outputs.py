"""A service's own published records, as they stand on the log: what rebuilding and resending start from (STREAM 13, 14)."""

from __future__ import annotations

import heapq
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import cast

from millpond.errors import MillpondError
from millpond.events.envelope import CE_ID, CE_SOURCE, CE_SPECVERSION, CE_TIME, CE_TYPE, CONTENT_TYPE
from millpond.stream.database import NumberedRow, OutboxRow
from millpond.stream.log import Log, Outbound
from millpond.stream.outlet import covered_offsets
from millpond.stream.position import Extent
from millpond.stream.record import DECIDED, ITEM, OUTBOX, READ, Headers, OutboxNumber, Place, Record
from millpond.stream.relay import to_outbound

# Written anew from the row whenever it is sent; everything else is in the row's headers.
_MADE_WHEN_SENT = frozenset({CE_SPECVERSION, CE_TYPE, CE_SOURCE, CE_ID, CE_TIME, CONTENT_TYPE, OUTBOX})


class OutputMissing(MillpondError):
    """{place} lacks a record of {service} before offset {offset}: number {number} says that {previous} stands before it,
    but the last found is {found}. Restore the topic from an export (millpond topics restore), then try again."""


@dataclass(frozen=True, slots=True)
class Published:
    """One record that the service itself has written, with the number that its outbox gave it."""

    record: Record
    number: int
    previous: int

    @property
    def covered(self) -> dict[Place, int]:
        """Up to which offset (excluded) its transaction had taken its inputs; empty if only a timer caused it."""
        header = self.record.header(READ)
        return {} if header is None else covered_offsets(header)

    @property
    def decided(self) -> int:
        """How many records its transaction decided at once."""
        return int(self.record.header(DECIDED) or 1)

    @property
    def shared(self) -> tuple[tuple[str, bytes | None], ...]:
        """The headers that it has in common with all that was decided at once."""
        return tuple(header for header in self.record.headers if header[0] not in _MADE_WHEN_SENT | {ITEM})

    @property
    def numbered_row(self) -> NumberedRow:
        """The outbox row from which it was sent."""
        record = self.record
        item = tuple(header for header in record.headers if header[0] == ITEM)
        kept = [[name, (value or b"").decode()] for name, value in (*self.shared, *item)]
        event_type = (record.header(CE_TYPE) or b"").decode()
        row = OutboxRow(
            record.topic,
            record.partition,
            record.key or b"",
            record.value or b"",
            event_type,
            record.timestamp_ms,
            json.dumps(kept),
        )
        return NumberedRow(self.number, row)

    def is_sent_alike(self, service: str) -> bool:
        """Whether it would be sent again with the same bytes."""
        record = self.record
        return to_outbound(service, self.numbered_row, self.previous) == Outbound(
            record.key or b"", record.value or b"", cast(Headers, record.headers), record.timestamp_ms
        )


async def published_at(service: str, place: Place, extent: Extent, log: Log) -> AsyncIterator[Published]:
    """What ``service`` has written to one place, each number once. Others' records and fillers are passed over.

    Raises ``OutputMissing`` where the chain of numbers is broken; where the beginning has expired it starts anywhere.
    """
    last = None if extent.beginning else 0
    async for record in log.read(place, extent.beginning, extent.end):
        if record.is_filler and last == 0:
            last = None
        outbox = _own(service, record)
        if outbox is None or (last is not None and outbox.number <= last):
            continue
        if last is not None and outbox.previous != last:
            raise OutputMissing(
                place=place,
                service=service,
                offset=record.offset,
                number=outbox.number,
                previous=outbox.previous,
                found=last,
            )
        last = outbox.number
        yield Published(record, outbox.number, outbox.previous)


async def published_in_order(
    service: str, extents: Mapping[Place, Extent], log: Log
) -> AsyncIterator[tuple[Place, Published]]:
    """All that ``service`` has published, in the order in which it was decided: one record of each place in memory."""
    sources = {place: published_at(service, place, extent, log) for place, extent in extents.items() if extent.end}
    heads: list[tuple[int, Place, Published]] = []
    try:
        for place, source in sources.items():
            await _refill(heads, place, source)
        while heads:
            _, place, published = heads[0]
            yield place, published
            heapq.heappop(heads)
            await _refill(heads, place, sources[place])
    finally:
        for source in sources.values():
            await source.aclose()  # type: ignore[attr-defined]


async def _refill(heads: list[tuple[int, Place, Published]], place: Place, source: AsyncIterator[Published]) -> None:
    published = await anext(source, None)
    if published is not None:
        heapq.heappush(heads, (published.number, place, published))


def _own(service: str, record: Record) -> OutboxNumber | None:
    header = record.header(OUTBOX)
    if header is None:
        return None
    try:
        outbox = OutboxNumber.from_header(header)
    except ValueError:
        return None
    return outbox if outbox.source == service else None
