"""The log, the feed and the publisher in memory: unit tests of rules and the simulator run on them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence

from millpond.stream.log import LogEndsBefore, Outbound, RecordsExpired
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record


class MemoryLog:
    """Records by place; see ``millpond.stream.log.Log``. Nothing is shared with another process."""

    def __init__(self) -> None:
        self._records: dict[Place, list[Record | None]] = {}
        self._beginnings: dict[Place, int] = {}

    def append(self, place: Place, outbound: Outbound) -> int:
        """Writes one record; returns its offset."""
        records = self._records.setdefault(place, [])
        records.append(
            Record(*place, len(records), outbound.key, outbound.value, outbound.headers, outbound.timestamp_ms)
        )
        return len(records) - 1

    def append_control_record(self, place: Place) -> None:
        """An offset that holds no data, as the end of a transactional producer's transaction leaves it."""
        self._records.setdefault(place, []).append(None)

    def expire(self, place: Place, beginning: int) -> None:
        """Forgets what lies before ``beginning``, as retention does."""
        self._beginnings[place] = beginning

    def truncate(self, place: Place, end: int) -> None:
        """Loses the tail from ``end`` on, as an unclean election does."""
        del self._records[place][end:]

    def extent(self, place: Place) -> Extent:
        return Extent(self._beginnings.get(place, 0), len(self._records.get(place, ())))

    def slice(self, place: Place, start: int, stop: int) -> list[Record]:
        return [record for record in self._records.get(place, ())[start:stop] if record is not None]

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        return {place: self.extent(place) for place in places}

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        counts = dict.fromkeys(topics, 0)
        for place in self._records:
            if place.topic in counts:
                counts[place.topic] = max(counts[place.topic], place.partition + 1)
        return counts

    async def read(self, place: Place, start: int, stop: int) -> AsyncIterator[Record]:
        extent = self.extent(place)
        if start >= stop:
            return
        if start < extent.beginning:
            raise RecordsExpired(place=place, start=start, beginning=extent.beginning)
        if stop > extent.end:
            raise LogEndsBefore(place=place, stop=stop, end=extent.end)
        for record in self.slice(place, start, stop):
            yield record


class MemoryFeed:
    """Reads a ``MemoryLog`` as a consumer would; see ``millpond.stream.feed.Feed``."""

    def __init__(self, log: MemoryLog, places: Sequence[Place], records_max: int = 500) -> None:
        self._log = log
        self._offsets = dict.fromkeys(places, 0)
        self._paused: set[Place] = set()
        self._records_max = records_max
        self._forget: Callable[[], None] = lambda: None

    async def poll(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        batches = {}
        for place, offset in self._offsets.items():
            extent = self._log.extent(place)
            if place in self._paused or offset == extent.end:
                continue
            # Out of the log's range a consumer begins anew ("earliest").
            start = offset if extent.beginning <= offset < extent.end else extent.beginning
            stop = min(start + self._records_max, extent.end)
            self._offsets[place] = stop
            if records := self._log.slice(place, start, stop):
                batches[place] = records
        if not batches:
            await asyncio.sleep(0)
        return batches

    def assigned(self) -> frozenset[Place]:
        return frozenset(self._offsets)

    def reassign(self, places: Sequence[Place]) -> None:
        """Gives this process other places, as a rebalance does."""
        self._offsets = dict.fromkeys(places, 0)
        self._paused.clear()
        self._forget()

    def on_reassignment(self, forget: Callable[[], None]) -> None:
        self._forget = forget

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        return await self._log.extents(places)

    async def fetched_up_to(self, place: Place) -> int:
        return self._offsets[place]

    def seek(self, place: Place, offset: int) -> None:
        if place in self._offsets:
            self._offsets[place] = offset

    def pause(self, place: Place) -> None:
        self._paused.add(place)

    def resume(self, place: Place) -> None:
        self._paused.discard(place)


class MemoryPublisher:
    """Appends to a ``MemoryLog``; see ``millpond.stream.log.Publisher``."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        for record in records:
            self._log.append(place, record)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(self._log.extent(place).end)
        return done

    async def close(self) -> None:
        return
