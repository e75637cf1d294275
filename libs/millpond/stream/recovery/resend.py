"""A log that lost its tail is completed from the outbox: the same bytes, in the same order (STREAM 12, 13)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from millpond.errors import MillpondError
from millpond.stream.database import NumberedRow, OutboxRow, RelayProgress
from millpond.stream.log import Log, Outbound, Publisher
from millpond.stream.position import Extent
from millpond.stream.postgres.database import PostgresDatabase
from millpond.stream.primed import PrimedPublisher
from millpond.stream.record import Place
from millpond.stream.recovery.own_outputs import published_at
from millpond.stream.relay import OpenPublisher, to_outbound
from millpond.stream.service import Service
from millpond.stream.starting import output_places

ROWS_MAX = 500

Told = Callable[[Place, int], None]


class OutboxPruned(MillpondError):
    """{place} ends at number {found} of {service}, and its outbox no longer holds what comes after: it was pruned.
    Restore the topic from an export: millpond topics restore"""


class OffsetsMoved(MillpondError):
    """{place} ends at offset {end} now, and ended at {stored} before: records were on it twice. All of {service}'s are
    there again, but not where they were: readers further back will stop. Restore the topic from an export
    (millpond topics restore)."""


@dataclass(frozen=True)
class Lost:
    """What is missing at a place: everything after ``last_number`` that the relay had seen acknowledged."""

    place: Place
    extent: Extent
    last_number: int
    stored: RelayProgress


@dataclass(frozen=True)
class Resent:
    """How many records each place got back. ``moved``: places where they are not at the offsets that they had."""

    records: dict[Place, int] = field(default_factory=dict)
    moved: list[OffsetsMoved] = field(default_factory=list)


async def find_lost(service: Service[Any], database: PostgresDatabase, log: Log) -> list[Lost]:
    """The places that end before the relay's last acknowledgement. Raises ``OutputMissing``: then it isn't a tail."""
    stored = await database.relay_progress()
    lost = []
    extents = await log.extents(output_places((*service.writes, service.dead_letters)))
    for place, extent in sorted(extents.items()):
        known = stored.get(place, RelayProgress(0, 0))
        if extent.end < known.next_offset:
            last = 0
            # The whole of it: a hole further back, with newer records behind it, can't be filled from here.
            async for published in published_at(service.name, place, extent, log):
                last = published.number
            lost.append(Lost(place, extent, last, known))
    return lost


async def resend(
    service: Service[Any],
    database: PostgresDatabase,
    log: Log,
    open_publisher: OpenPublisher,
    told: Told = lambda *_: None,
) -> Resent:
    """Sends what is missing, and stores the new ends. The service must not run; cut off, it goes on when run again.

    Raises ``OutboxPruned`` (before anything is sent), ``OutputMissing``, ``SendFailed``, ``DatabaseAway``, ``LogAway``.
    """
    lost = await find_lost(service, database, log)
    for each in lost:
        await _check_kept(service.name, database, each)
    resent = Resent()
    if not lost:
        return resent
    publisher = PrimedPublisher(await open_publisher())
    try:
        for each in lost:
            end, count = await _complete(service.name, database, publisher, each, told)
            resent.records[each.place] = count
            await _store_end(database, each.place, RelayProgress(end, each.stored.last_number))
            if end != each.stored.next_offset:
                stored = each.stored.next_offset
                resent.moved.append(OffsetsMoved(place=each.place, end=end, stored=stored, service=service.name))
    finally:
        await publisher.close()
    return resent


async def _complete(
    service: str, database: PostgresDatabase, publisher: Publisher, lost: Lost, told: Told
) -> tuple[int, int]:
    """Where the place ends then, and how many records were sent. Each batch is awaited: nothing can overtake."""
    end, count, previous = lost.extent.end, 0, lost.last_number
    async for rows in _rows(database, lost):
        records: list[Outbound] = []
        for numbered in rows:
            records.append(to_outbound(service, numbered, previous))
            previous = numbered.number
        end = await (await publisher.send(lost.place, records))
        count += len(records)
        told(lost.place, count)
    return end, count


async def _rows(database: PostgresDatabase, lost: Lost) -> AsyncIterator[list[NumberedRow]]:
    after = lost.last_number
    while True:
        async with database.transaction() as transaction:
            # rows of a place: up to what was acknowledged; what comes after is the relay's to send.
            found = await transaction.connection.fetch(
                """
                SELECT number, topic, partition, key, value, event_type, time_ms, headers FROM outbox
                WHERE topic = $1 AND partition = $2 AND number > $3 AND number <= $4 ORDER BY number LIMIT $5
                """,
                *lost.place,
                after,
                lost.stored.last_number,
                ROWS_MAX,
            )
        if not found:
            return
        yield [NumberedRow(row[0], OutboxRow(*row[1:])) for row in map(tuple, found)]
        after = found[-1]["number"]


async def _check_kept(service: str, database: PostgresDatabase, lost: Lost) -> None:
    async with database.transaction() as transaction:
        kept = await _is_kept(transaction.connection, lost)
    if not kept:
        raise OutboxPruned(place=lost.place, found=lost.last_number, service=service)


async def _is_kept(connection: asyncpg.Connection, lost: Lost) -> bool:
    """Only the oldest rows are ever pruned: if the last one on the log is still here, so is all that follows.

    A place that lost everything has no last one; then the outbox must begin with the first number, or hold as many rows
    of the place as offsets were lost (numbers of transactions that were rolled back are never used).
    """
    if lost.last_number:
        return bool(await connection.fetchval("SELECT EXISTS (SELECT FROM outbox WHERE number = $1)", lost.last_number))
    row = await connection.fetchrow(
        """
        SELECT (SELECT min(number) FROM outbox) AS first, count(*) AS rows
        FROM outbox WHERE topic = $1 AND partition = $2 AND number <= $3
        """,
        *lost.place,
        lost.stored.last_number,
    )
    assert row is not None
    return bool(row["first"] == 1 or row["rows"] == lost.stored.next_offset - lost.extent.end)


async def _store_end(database: PostgresDatabase, place: Place, progress: RelayProgress) -> None:
    async with database.transaction() as transaction:
        await transaction.connection.execute(
            "UPDATE relay_progress SET next_offset = $3, last_number = $4 WHERE topic = $1 AND partition = $2",
            *place,
            progress.next_offset,
            progress.last_number,
        )
