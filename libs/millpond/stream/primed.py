"""A publisher that can't be overtaken by itself: the first record of each place goes alone, and is awaited (STREAM 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from millpond.stream.log import Outbound, Publisher
from millpond.stream.record import Place


class PrimedPublisher:
    """Wraps a new publisher; see ``millpond.stream.log.Publisher``.

    The broker accepts any first sequence of a new producer: pipelined behind a first record that it refuses, the second
    would overtake it. Once one is acknowledged, the broker holds the rest to their order.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._primed: set[Place] = set()
        self._last: dict[Place, asyncio.Future[int]] = {}

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        if place in self._primed:
            return await self._behind_the_last(place, records)
        next_offset = await (await self._publisher.send(place, records[:1]))
        self._primed.add(place)
        if len(records) == 1:
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            done.set_result(next_offset)
            return done
        return await self._behind_the_last(place, records[1:])

    async def _behind_the_last(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        """Sends nothing more for a place whose last batch is known to have failed: it would leave a hole."""
        last = self._last.get(place)
        if last is not None and last.done() and not last.cancelled() and (failure := last.exception()) is not None:
            raise failure
        self._last[place] = asyncio.ensure_future(await self._publisher.send(place, records))
        return self._last[place]

    async def close(self) -> None:
        await self._publisher.close()
