"""Keeps a process where its database says it is: loads positions, seeks, notices when the log doesn't go on from there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import structlog

from millpond.events.topic import Topic
from millpond.stream.backoff import backoff_s
from millpond.stream.database import DeadLetter
from millpond.stream.feed import Feed
from millpond.stream.plan import PASSED, Plan, Stop, plan_batch
from millpond.stream.position import STOP_SENTENCES, Extent, Position, StopReason, judge_start
from millpond.stream.reading import Reading
from millpond.stream.record import Place, Record, record_hash
from millpond.telemetry.metrics import Metrics

# A failing partition is tried again with growing waits, at most this long.
RETRY_MAX_S = 10.0
# How often a stopped partition looks whether a signed command lets it go on.
STOPPED_CHECK_S = 1.0
# How often the log's extent is compared with our positions: lag, and a tail that was lost while nothing came.
EXTENT_CHECK_S = 5.0

log = structlog.get_logger(__name__)


class Positions(Protocol):
    """What the reader asks of a ``Database``, with the same promises; a follower's read model answers it, too."""

    async def positions(self, places: Sequence[Place]) -> dict[Place, Position]: ...

    async def dead_letters_from(self, place: Place, offset: int) -> dict[int, DeadLetter]: ...


class Reader:
    """Turns what the feed brings into plans that start exactly at the stored positions."""

    def __init__(
        self,
        topics: Sequence[Topic],
        feed: Feed,
        database: Positions,
        metrics: Metrics,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._topics = {topic.name: topic for topic in topics}
        self._feed = feed
        self._database = database
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._readings: dict[Place, Reading] = {}
        # Survives a loss of the partition: a database that knows less than this was restored from a backup.
        self._furthest: dict[Place, int] = {}
        self._extents_checked_at_s = 0.0
        feed.on_reassignment(self.forget_all)

    @property
    def stops(self) -> dict[Place, Stop]:
        return {place: reading.stop for place, reading in self._readings.items() if reading.stop is not None}

    @property
    def ready(self) -> bool:
        """Whether every assigned place has a known position."""
        return self._feed.assigned() <= self._readings.keys()

    def stalled(self, after_s: float) -> list[Place]:
        """Where there is more on the log, nothing says why, and yet nothing has come for ``after_s`` (incident 52)."""
        now_s = self._monotonic_s()
        return [
            place
            for place, reading in self._readings.items()
            if not reading.paused and now_s > reading.moved_at_s + after_s
        ]

    async def plans(self, timeout_s: float) -> list[Plan]:
        """What can be applied now. Raises ``DatabaseAway`` and ``LogAway``; then nothing is lost, ask again."""
        await self._adopt()
        await self._retry()
        await self._compare_extents()
        batches = await self._feed.poll(timeout_s)
        plans = []
        for place, records in batches.items():
            reading = self._readings.get(place)
            if reading is None or reading.stop is not None or reading.paused:
                continue  # reassigned or stopped while the fetch was under way; it is fetched again
            due = await self._from_position(place, reading, records)
            if due:
                plans.append(plan_batch(self._topics[place.topic], due, reading.position, reading.known))
        return plans

    async def ends(self) -> dict[Place, int]:
        """Where each place's log ends now. Raises ``LogAway``."""
        return {place: extent.end for place, extent in (await self._feed.extents(list(self._readings))).items()}

    async def unread(self, ends: Mapping[Place, int], planned: Collection[Place]) -> frozenset[Place]:
        """Where something before these ends has not been applied. ``planned``: what is about to be."""
        return frozenset([place for place, end in ends.items() if not await self._is_read(place, end, planned)])

    async def _is_read(self, place: Place, end: int, planned: Collection[Place]) -> bool:
        reading = self._readings.get(place)
        if reading is None:
            return False
        if reading.position.next_offset >= end:
            return True
        # Control records at the end are never delivered: the client has passed them, so nothing is missing.
        return place not in planned and not reading.paused and await self._feed.fetched_up_to(place) >= end

    def held(self, place: Place) -> bool:
        """Whether a place is stopped or waits to be tried again: nobody knows when it will have been read."""
        reading = self._readings.get(place)
        return reading is not None and reading.paused

    def applied(self, plan: Plan) -> None:
        """To be called once a plan's transaction has committed."""
        reading = self._readings.get(plan.place)
        if reading is None or reading.position != plan.before:
            return
        reading.position, reading.failures, reading.began_late_at = plan.after, 0, None
        reading.moved_at_s = self._monotonic_s()
        self._furthest[plan.place] = plan.after.next_offset
        stop = plan.stop or reading.broken_by(plan)
        if stop is not None:
            self._stop(plan.place, reading, stop)

    def failed(self, place: Place, cause: Exception) -> None:
        """Goes back to the position and waits a little longer each time. Nothing of the place is skipped."""
        reading = self._readings.get(place)
        if reading is None:
            return
        wait_s = backoff_s(reading.failures, longest_s=RETRY_MAX_S)
        reading.failures += 1
        reading.retry_at_s = self._monotonic_s() + wait_s
        self._metrics.add("millpond_stream_retries_total", reason=type(cause).__name__)
        log.warning("partition_retries", place=str(place), failures=reading.failures, wait_s=wait_s, cause=repr(cause))
        self._hold(place, reading)

    def replan(self, plan: Plan, before_offset: int) -> Plan | None:
        """The part of a plan that lies before a record on which the rules failed; None if there is none."""
        records = [record for record in plan.records if record.offset < before_offset]
        reading = self._readings.get(plan.place)
        if not records or reading is None:
            return None
        return plan_batch(self._topics[plan.place.topic], records, plan.before, reading.known)

    def forget(self, place: Place) -> None:
        """Another process has moved the position: what we knew is old."""
        reading = self._readings.pop(place, None)
        if reading is None:
            return
        # What belongs to somebody else is his to show: our last word on it would stand for ever.
        self._metrics.forget("millpond_stream_lag_records", topic=place.topic, partition=place.partition)
        self._metrics.forget("millpond_stream_stopped_partitions", topic=place.topic, partition=place.partition)
        if reading.paused:
            self._feed.resume(place)

    def forget_all(self) -> None:
        for place in list(self._readings):
            self.forget(place)

    async def _adopt(self) -> None:
        """Loads where the new places are, and goes there; forgets those that are gone."""
        assigned = self._feed.assigned()
        for place in self._readings.keys() - assigned:
            self.forget(place)
        new = sorted(assigned - self._readings.keys())
        if not new:
            return
        positions = await self._database.positions(new)
        extents = await self._feed.extents(new)
        for place in new:
            position = positions[place]
            known = await self._database.dead_letters_from(place, position.next_offset)
            reading = self._readings[place] = Reading(
                position, known, verified=not position.last_hash, moved_at_s=self._monotonic_s()
            )
            reason = self._judge_adopted(place, position, extents[place])
            if reason is not None:
                self._stop(place, reading, Stop(reason, _extent_detail(position, extents[place])))
            else:
                # One back: the record before our position comes again, and proves that this is still the same log.
                self._feed.seek(place, position.next_offset - (0 if reading.verified else 1))

    def _judge_adopted(self, place: Place, position: Position, extent: Extent) -> StopReason | None:
        if position.next_offset < self._furthest.get(place, 0):
            return "database_went_back"
        verdict = judge_start(
            position, position.next_offset, extent, expires=self._topics[place.topic].retention is not None, again=False
        )
        return None if verdict in ("seek", "step_over") else verdict  # type: ignore[return-value]

    async def _from_position(self, place: Place, reading: Reading, records: Sequence[Record]) -> Sequence[Record]:
        """The records from our position on, if they are proven to be its continuation; else none, and a seek or a stop."""
        position = reading.position
        if not reading.verified and not await self._verify(place, reading, records[0]):
            return ()
        due = [record for record in records if record.offset >= position.next_offset]
        # Records from further back: the client was out of the log's range and began anew, so the log must be asked.
        began_anew = records[0].offset < position.next_offset - 1
        if not began_anew and (not due or due[0].offset == position.next_offset):
            return due
        extent = (await self._feed.extents([place]))[place]
        start = due[0].offset if due else records[0].offset
        verdict = judge_start(
            position,
            start,
            extent,
            expires=self._topics[place.topic].retention is not None,
            again=reading.began_late_at == start,
        )
        if verdict == "step_over":
            return due
        if verdict == "seek":
            reading.began_late_at = start
            self._feed.seek(place, position.next_offset)
        else:
            self._stop(place, reading, Stop(verdict, _extent_detail(position, extent)))
        return ()

    async def _verify(self, place: Place, reading: Reading, first: Record) -> bool:
        position = reading.position
        if first.offset == position.next_offset - 1:
            reading.verified = first.is_filler or record_hash(first) == position.last_hash
        else:
            # The record before ours may have expired; only then may the log begin right at our position.
            extent = (await self._feed.extents([place]))[place]
            reading.verified = extent.beginning == position.next_offset
        if not reading.verified:
            self._stop(
                place, reading, Stop("made_again", f"Offset {first.offset} holds other bytes than were applied.")
            )
        return reading.verified

    async def _retry(self) -> None:
        now_s = self._monotonic_s()
        for place, reading in list(self._readings.items()):
            if not reading.paused or now_s < reading.retry_at_s:
                continue
            if reading.stop is not None and not await self._may_go_on(place, reading):
                reading.retry_at_s = now_s + STOPPED_CHECK_S
                continue
            reading.paused = False
            self._feed.resume(place)
            self._feed.seek(place, reading.position.next_offset)

    async def _may_go_on(self, place: Place, reading: Reading) -> bool:
        """Whether a signed command has skipped the record at which the place stopped."""
        stop = reading.stop
        if stop is None or stop.letter is None:
            return False
        reading.known = await self._database.dead_letters_from(place, reading.position.next_offset)
        letter = reading.known.get(stop.letter.offset)
        if letter is None or letter.state not in PASSED:
            return False
        reading.stop = None
        self._show_stopped(place, stop, 0)
        return True

    async def _compare_extents(self) -> None:
        now_s = self._monotonic_s()
        if now_s < self._extents_checked_at_s + EXTENT_CHECK_S or not self._readings:
            return
        self._extents_checked_at_s = now_s
        for place, extent in (await self._feed.extents(list(self._readings))).items():
            reading = self._readings.get(place)
            if reading is None:
                continue
            lag = max(0, extent.end - reading.position.next_offset)
            self._metrics.set("millpond_stream_lag_records", lag, topic=place.topic, partition=place.partition)
            # Control records at the end are never delivered: the client has passed them, so nothing is missing.
            if lag == 0 or await self._feed.fetched_up_to(place) >= extent.end:
                reading.moved_at_s = now_s
            # What is gone brings no batch that would show it.
            reason = self._judge_adopted(place, reading.position, extent) if reading.stop is None else None
            if reason is not None:
                self._stop(place, reading, Stop(reason, _extent_detail(reading.position, extent)))

    def _stop(self, place: Place, reading: Reading, stop: Stop) -> None:
        reading.stop = stop
        reading.retry_at_s = self._monotonic_s() + STOPPED_CHECK_S
        self._show_stopped(place, stop, 1)
        log.error(
            "partition_stopped",
            place=str(place),
            offset=reading.position.next_offset,
            reason=stop.reason,
            detail=stop.detail,
            remedy=STOP_SENTENCES[stop.reason],
        )
        self._hold(place, reading)

    def _show_stopped(self, place: Place, stop: Stop, stopped: int) -> None:
        self._metrics.set(
            "millpond_stream_stopped_partitions",
            stopped,
            topic=place.topic,
            partition=place.partition,
            reason=stop.reason,
        )

    def _hold(self, place: Place, reading: Reading) -> None:
        reading.paused = True
        self._feed.pause(place)
        self._feed.seek(place, reading.position.next_offset)


def _extent_detail(position: Position, extent: Extent) -> str:
    return f"Our position is {position.next_offset}; the log holds {extent.beginning} to {extent.end}."
