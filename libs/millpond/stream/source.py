"""The *source* shape: what was observed outside goes to Kafka, and is acknowledged outside once Kafka has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from types import TracebackType
from typing import Self

import structlog

from millpond.errors import MillpondError
from millpond.events.envelope import TRACEPARENT, Envelope, encode
from millpond.events.event import Event
from millpond.events.topic import Topic, Written
from millpond.stream.backoff import backoff_s
from millpond.stream.log import Outbound, Publisher, SendFailed
from millpond.stream.outlet import OutgoingTooLarge, ce_time, partition_of
from millpond.stream.primed import PrimedPublisher
from millpond.stream.record import ITEM, Place
from millpond.telemetry.metrics import Metrics
from millpond.telemetry.traces import inject

# What waits for Kafka in memory: beyond it, callers wait for room, and the outside feels it.
QUEUE_BYTES_MAX = 64 * 1_048_576
# A small item costs more than its bytes: a future, headers, an entry in the queue.
ITEM_BYTES = 2_048
# Items of one place that are sent, and acknowledged, together.
BATCH_ITEMS_MAX = 1_000
RETRY_MAX_S = 5.0
# How long a publisher that failed at one place may still acknowledge what it has under way at others.
UNDER_WAY_S = 1.0
# How long a caller waits for Kafka before it is told "not acknowledged".
PATIENCE_S = 30.0
# How long a stopping source waits for what is under way.
CLOSE_S = 10.0

OpenPublisher = Callable[[], Awaitable[Publisher]]
log = structlog.get_logger(__name__)


class NotAcknowledged(MillpondError):
    """Kafka has not acknowledged {missing} of {items} items: {cause}. Any of them may be on the log nevertheless.
    Acknowledge nothing to the outside; sent again, each counts once."""


class NotObservable(MillpondError):
    """{topic} is {written}: a source can't write it, or the item has no identity."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Something that a source saw. ``item`` is its identity on the topic, for ever: (device, session, sequence) and the like.

    ``stamp_ms`` is the time of arrival in Unix milliseconds. It must not stand in ``event`` too: an item sent again has
    a new stamp and must have the same bytes.
    """

    topic: Topic
    key: str
    event: Event
    item: str
    stamp_ms: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An item in the queue. ``acknowledged`` is done once Kafka has it, or the caller has gone."""

    number: int
    outbound: Outbound
    bytes: int
    acknowledged: asyncio.Future[None]


class Source:
    """Writes what callers observed; ``async with`` opens and closes it. Any number of tasks may ``publish`` at once.

    What ``publish`` returned from is on Kafka (acks=all). What it raised for may be there or not: who observed it sends
    it again, also after a crash of this process. On topics whose readers keep items (``Topic.items_kept``) a repeat is
    without effect, for ever: the first in the partition counts, other bytes under the same identity are a conflict.
    On the others (heartbeats, progress) a repeat arrives as a second event, and an older one may come again behind a
    newer: their rules take the highest sequence or stamp, and nothing that adds up.

    Items of one key keep the order in which they were published, as far as they are first sendings.
    A failed send drops the publisher: what was not acknowledged goes out again, in order, on a new one.
    """

    def __init__(
        self,
        name: str,
        open_publisher: OpenPublisher,
        metrics: Metrics,
        *,
        patience_s: float = PATIENCE_S,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self._name = name
        self._open_publisher = open_publisher
        self._metrics = metrics
        self._patience_s = patience_s
        self._queue_bytes_max = queue_bytes_max
        self._queues: dict[Place, dict[int, _Waiting]] = {}
        self._news: dict[Place, asyncio.Event] = {}
        self._new_place = asyncio.Event()
        self._bytes = 0
        self._room = asyncio.Event()
        self._queued_ever = 0
        # How often in a row each place has failed: one that always fails waits by itself, and starves no other.
        self._failures: dict[Place, int] = {}
        self._closing = False
        self._running: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._running = asyncio.create_task(self._run())
        # However it ends: nobody is to wait for a source that is gone.
        self._running.add_done_callback(lambda _: self._let_go())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes nothing new, and waits a little for what is under way; the rest raises ``NotAcknowledged``."""
        self._closing = True
        running = self._running
        assert running is not None
        waiting = [each.acknowledged for queue in self._queues.values() for each in queue.values()]
        if waiting:
            await asyncio.wait(waiting, timeout=CLOSE_S)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    async def publish(self, items: Sequence[Observed]) -> None:
        """Returns once Kafka has acknowledged all of them.

        Raises ``NotAcknowledged`` after ``patience_s``, or when the source closes; ``OutgoingTooLarge`` and
        ``NotObservable`` before anything is sent.
        """
        outbounds = [(_place(item), _outbound(self._name, item)) for item in items]
        queued: list[tuple[Place, _Waiting]] = []
        try:
            async with asyncio.timeout(self._patience_s):
                for place, outbound in outbounds:
                    queued.append((place, await self._queue(place, outbound)))
                if queued:
                    await asyncio.wait([each.acknowledged for _, each in queued])
        except TimeoutError:
            pass
        finally:
            missing = sum(not _is_acknowledged(each) for _, each in queued) + len(outbounds) - len(queued)
            self._forget(queued)
        if missing:
            raise NotAcknowledged(missing=missing, items=len(outbounds), cause=self._why_not())

    async def _queue(self, place: Place, outbound: Outbound) -> _Waiting:
        """Waits for room. The order of entries is the order of sending."""
        size = ITEM_BYTES + len(outbound.value or b"")
        # One item always fits, however large.
        while self._bytes and self._bytes + size > self._queue_bytes_max and not self._stopped:
            self._room.clear()
            await self._room.wait()
        if self._stopped:
            raise TimeoutError
        self._queued_ever += 1
        self._bytes += size
        waiting = _Waiting(self._queued_ever, outbound, size, asyncio.get_running_loop().create_future())
        if place not in self._queues:
            self._queues[place], self._news[place] = {}, asyncio.Event()
            self._new_place.set()
        self._queues[place][waiting.number] = waiting
        self._news[place].set()
        return waiting

    @property
    def _stopped(self) -> bool:
        return self._closing or self._running is None or self._running.done()

    def _why_not(self) -> str:
        if self._closing:
            return "the source is closed"
        if self._running is None or self._running.done():
            failure = self._running and not self._running.cancelled() and self._running.exception()
            return f"the source has failed: {failure!r}" if failure else "the source is not open"
        return f"not within {self._patience_s:g} s"

    def _forget(self, queued: Sequence[tuple[Place, _Waiting]]) -> None:
        """Takes out what nobody waits for any more, so that a broker that is away doesn't fill the memory."""
        for place, each in queued:
            each.acknowledged.cancel()
            self._take_out(place, each)

    def _take_out(self, place: Place, waiting: _Waiting) -> None:
        if self._queues[place].pop(waiting.number, None) is not None:
            self._bytes -= waiting.bytes
            self._room.set()

    def _let_go(self) -> None:
        for queue in self._queues.values():
            for each in queue.values():
                each.acknowledged.cancel()
        self._room.set()

    async def _run(self) -> None:
        """One publisher after the other, until cancelled."""
        failures = 0
        while True:
            try:
                publisher = PrimedPublisher(await self._open_publisher())
            except SendFailed as failed:
                wait_s = backoff_s(failures, longest_s=RETRY_MAX_S)
                failures += 1
                log.warning("source_starts_again", cause=str(failed), wait_s=wait_s)
                await asyncio.sleep(wait_s)
                continue
            failures = 0
            try:
                await self._serve(publisher)
            except SendFailed as failed:
                self._metrics.add("millpond_stream_relay_restarts_total")
                log.warning("source_starts_again", cause=str(failed))

    async def _serve(self, publisher: Publisher) -> None:
        """One publisher's life, with a task for each place. Raises what the first of them failed with."""
        broken = asyncio.Event()
        draining: dict[Place, asyncio.Task[None]] = {}
        try:
            while not broken.is_set():
                for place in self._queues.keys() - draining.keys():
                    draining[place] = asyncio.create_task(self._drain(place, publisher, broken))
                self._new_place.clear()
                await self._new_place.wait()
            # What others have under way is still acknowledged: a place that always fails must not starve them.
            await asyncio.wait(draining.values(), timeout=UNDER_WAY_S)
        finally:
            for task in draining.values():
                task.cancel()
            outcomes = await asyncio.gather(*draining.values(), return_exceptions=True)
            await publisher.close()
        raise next(each for each in outcomes if isinstance(each, Exception))

    async def _drain(self, place: Place, publisher: Publisher, broken: asyncio.Event) -> None:
        # What comes while a batch is under way makes the next one: batches grow with the load, and order needs no thought.
        queue, news = self._queues[place], self._news[place]
        failures = self._failures.get(place, 0)
        if failures:
            with suppress(TimeoutError):
                await asyncio.wait_for(broken.wait(), backoff_s(failures - 1, longest_s=RETRY_MAX_S))
        try:
            while not broken.is_set():
                if queue:
                    batch = list(islice(queue.values(), BATCH_ITEMS_MAX))
                    await (await publisher.send(place, [each.outbound for each in batch]))
                    self._failures.pop(place, None)
                    self._acknowledge(place, batch)
                else:
                    news.clear()
                    await news.wait()
        except Exception:
            self._failures[place] = self._failures.get(place, 0) + 1
            broken.set()
            self._new_place.set()
            for each in self._news.values():
                each.set()
            raise

    def _acknowledge(self, place: Place, batch: Sequence[_Waiting]) -> None:
        self._metrics.add("millpond_stream_relay_published_total", len(batch), topic=place.topic)
        for each in batch:
            self._take_out(place, each)
            if not each.acknowledged.done():
                each.acknowledged.set_result(None)


def _is_acknowledged(waiting: _Waiting) -> bool:
    return waiting.acknowledged.done() and not waiting.acknowledged.cancelled()


def _place(item: Observed) -> Place:
    if item.topic.written is Written.BY_PROCESS or not item.item:
        raise NotObservable(topic=item.topic.name, written=item.topic.written.value)
    return Place(item.topic.name, partition_of(item.key.encode(), item.topic.partitions))


def _outbound(source: str, item: Observed) -> Outbound:
    """The record of an item: the same bytes whenever it is sent, but for its stamp and its trace."""
    value = item.event.to_bytes()
    if len(value) > item.topic.value_bytes_max:
        facts = {"event": item.event.type_name, "topic": item.topic.name, "size": len(value)}
        raise OutgoingTooLarge(**facts, allowed=item.topic.value_bytes_max)
    trace = dict(inject([])).get(TRACEPARENT)
    envelope = Envelope(
        id=f"{item.topic.name}/{item.item}",
        type=item.event.type_name,
        source=f"/millpond/{source}",
        time=ce_time(item.stamp_ms),
        traceparent=None if trace is None else trace.decode(),
    )
    return Outbound(item.key.encode(), value, (*encode(envelope), (ITEM, item.item.encode())), item.stamp_ms)
