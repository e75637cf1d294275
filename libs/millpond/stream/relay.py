"""From the outbox to Kafka, in order, until acknowledged; and the checks before anything is sent (STREAM 10 to 13)."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import structlog

from millpond.events.envelope import CE_ID, CE_TIME, Envelope, encode
from millpond.stream.backoff import backoff_s
from millpond.stream.database import Database, Lease, NumberedRow, RelayProgress
from millpond.stream.log import Outbound, Publisher, SendFailed
from millpond.stream.outlet import ce_time
from millpond.stream.primed import PrimedPublisher
from millpond.stream.record import OUTBOX, Headers, OutboxNumber, Place
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import Tracing

ROWS_MAX = 2_000
# Chunks under way at once: while one is acknowledged the next is read and sent.
CHUNKS_MAX = 4
RETRY_MAX_S = 5.0
# What was acknowledged is marked this often: a mark per chunk would cost more than the sending.
MARK_EVERY_S = 0.05

OpenPublisher = Callable[[], Awaitable[Publisher]]
log = structlog.get_logger(__name__)


class _Traced(NamedTuple):
    """What a span of sending says about a row: where it goes, and the headers with its decider's context."""

    topic: str
    partition: int
    headers: Headers


@dataclass(frozen=True)
class _Delivery:
    """Rows of one place that were handed over: acknowledged together."""

    place: Place
    last_number: int
    records: int
    acknowledged: Awaitable[int]


@dataclass(frozen=True)
class _Chunk:
    """What was read from the outbox in one go. ``up_to``: the highest number in it."""

    up_to: int
    deliveries: Sequence[_Delivery]


class Relay:
    """Publishes one service's outbox. Two at once do no harm: number and previous make repeats harmless."""

    def __init__(
        self,
        source: str,
        database: Database,
        open_publisher: OpenPublisher,
        metrics: Metrics,
        tracing: Tracing,
        poll_s: float = 0.25,
    ) -> None:
        self._source = source
        self._database = database
        self._open_publisher = open_publisher
        self._metrics = metrics
        self._tracing = tracing
        self._poll_s = poll_s
        self._announced = asyncio.Event()
        self._progress: dict[Place, RelayProgress] = {}
        # Acknowledged, and not yet marked.
        self._touched: set[Place] = set()
        self._acknowledged_up_to = 0
        self._marked_at_s = 0.0

    async def run(self, lease: Lease, progress: dict[Place, RelayProgress], stopping: asyncio.Event) -> None:
        """Publishes until ``stopping`` is set and all is sent. ``progress``: what was found on the log at the start.

        Raises ``LeaseLost`` and ``DatabaseAway``.
        """
        self._progress = progress
        self._touched.clear()
        failures = 0
        async with self._database.listen(self._announced.set):
            while True:
                reached = self._acknowledged_up_to
                try:
                    await self._serve(lease, await self._database.published_up_to(), stopping)
                    return
                except SendFailed as failure:
                    failures = 0 if self._acknowledged_up_to > reached else failures + 1
                    wait_s = backoff_s(failures, longest_s=RETRY_MAX_S)
                    self._metrics.add("millpond_stream_relay_restarts_total")
                    log.warning("relay_starts_again", cause=str(failure), wait_s=wait_s)
                    await asyncio.sleep(wait_s)

    async def _serve(self, lease: Lease, sent: int, stopping: asyncio.Event) -> None:
        """One publisher's life: it ends at the first error, and its successor starts at the first unacknowledged row."""
        publisher = await self._open_publisher()
        sequencer = _Sequencer(self._source, PrimedPublisher(publisher), self._progress)
        chunks: deque[_Chunk] = deque()
        try:
            while True:
                rows = await self._database.outbox_after(sent, ROWS_MAX) if len(chunks) < CHUNKS_MAX else []
                if rows:
                    sent = rows[-1].number
                    with self._tracing.publish_span(self._traced(rows)):
                        chunks.append(await sequencer.hand_over(rows))
                elif chunks:
                    await self._settle(chunks.popleft())
                    if time.monotonic() > self._marked_at_s + MARK_EVERY_S:
                        await self._mark(lease)
                elif self._touched and (stopping.is_set() or time.monotonic() > self._marked_at_s + MARK_EVERY_S):
                    await self._mark(lease)
                elif stopping.is_set():
                    return
                else:
                    await self._wait()
        finally:
            for chunk in chunks:
                _discard(chunk.deliveries)
            await publisher.close()

    def _traced(self, rows: Sequence[NumberedRow]) -> list[_Traced]:
        if self._tracing.provider is None:
            return []
        return [_Traced(each.row.topic, each.row.partition, _parsed(each.row.headers)) for each in rows]

    async def _mark(self, lease: Lease) -> None:
        touched = {place: self._progress[place] for place in self._touched}
        await self._database.mark_published(lease, touched, self._acknowledged_up_to)
        self._touched.clear()
        self._marked_at_s = time.monotonic()

    async def _settle(self, chunk: _Chunk) -> None:
        """Waits for a chunk's acknowledgements, to be marked soon. A failure lets nothing behind itself be marked."""
        failure = None
        for delivery in chunk.deliveries:
            try:
                next_offset = await delivery.acknowledged
            except SendFailed as refused:
                failure = refused
            else:
                known = self._progress.get(delivery.place, RelayProgress(0, 0))
                # A producer that was told "duplicate" knows no offset; the next acknowledgement does.
                self._progress[delivery.place] = RelayProgress(
                    max(next_offset, known.next_offset), max(delivery.last_number, known.last_number)
                )
        if failure is not None:
            raise failure
        self._touched.update(delivery.place for delivery in chunk.deliveries)
        self._acknowledged_up_to = chunk.up_to
        for delivery in chunk.deliveries:
            self._metrics.add("millpond_stream_relay_published_total", delivery.records, topic=delivery.place.topic)

    async def _wait(self) -> None:
        # The announcement may have come from another process, or have been lost with a connection: so look anyway.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._announced.wait(), self._poll_s)
        self._announced.clear()


class _Sequencer:
    """Hands rows to one publisher: with their numbers, without those already on the log."""

    def __init__(self, source: str, publisher: Publisher, progress: dict[Place, RelayProgress]) -> None:
        self._source = source
        self._publisher = publisher
        self._last = {place: known.last_number for place, known in progress.items()}

    async def hand_over(self, rows: Sequence[NumberedRow]) -> _Chunk:
        by_place: dict[Place, list[tuple[int, Outbound]]] = {}
        for numbered in rows:
            place = Place(numbered.row.topic, numbered.row.partition)
            previous = self._last.get(place, 0)
            if numbered.number > previous:
                self._last[place] = numbered.number
                by_place.setdefault(place, []).append((numbered.number, self._outbound(numbered, previous)))
        sent = await asyncio.gather(
            *(self._send(place, waiting) for place, waiting in by_place.items()), return_exceptions=True
        )
        deliveries = [each for each in sent if isinstance(each, _Delivery)]
        for failure in sent:
            if isinstance(failure, BaseException):
                _discard(deliveries)
                raise failure
        return _Chunk(rows[-1].number, deliveries)

    async def _send(self, place: Place, waiting: list[tuple[int, Outbound]]) -> _Delivery:
        records = [record for _, record in waiting]
        return _Delivery(place, waiting[-1][0], len(waiting), await self._publisher.send(place, records))

    def _outbound(self, numbered: NumberedRow, previous: int) -> Outbound:
        return to_outbound(self._source, numbered, previous)


def to_outbound(source: str, numbered: NumberedRow, previous: int) -> Outbound:
    """The record of an outbox row: the same bytes whenever, and by whichever relay, it is sent."""
    row = numbered.row
    headers = (
        *_who_says_what(source, row.event_type),
        (CE_ID, f"{source}/{numbered.number}".encode()),
        (CE_TIME, ce_time(row.time_ms).encode()),
        (OUTBOX, OutboxNumber(source, numbered.number, previous).to_header()),
        *_parsed(row.headers),
    )
    return Outbound(row.key, row.value, headers, row.time_ms)


@lru_cache(maxsize=1_024)
def _who_says_what(source: str, event_type: str) -> tuple[tuple[str, bytes], ...]:
    """The envelope's part that is the same for all of a service's events of one type."""
    whole = encode(Envelope(id="", type=event_type, source=f"/millpond/{source}", time=""))
    return tuple((name, value) for name, value in whole if name not in (CE_ID, CE_TIME))


@lru_cache(maxsize=1_024)
def _parsed(headers: str) -> tuple[tuple[str, bytes], ...]:
    return tuple((name, value.encode()) for name, value in json.loads(headers))


def _discard(deliveries: Sequence[_Delivery]) -> None:
    """Lets go of deliveries nobody will wait for: whether they arrived is found on the log, or they are sent again."""
    for delivery in deliveries:
        future = asyncio.ensure_future(delivery.acknowledged)
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        future.cancel()
