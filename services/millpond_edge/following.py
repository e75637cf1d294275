"""A read model's changes as Server-Sent Events: who follows goes on exactly behind what he has seen, at any edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from millpond.events.topic import Topic
from millpond.stream.cursor import Cursor, CursorUnreadable
from millpond.stream.decision import Received
from millpond.stream.record import Place
from millpond_edge.door import Door
from millpond_edge.errors import Refusal

BEGINNING: Final = "beginning"
UP_TO_DATE: Final = "UpToDate"
ALIVE_EVERY_S: Final = 15.0
EVENT_STREAM: Final = "text/event-stream"


class CursorRefused(Refusal):
    """cursor: {problem} Give back the id of the last event as it is, or `beginning`, or leave it out."""

    status = 400
    reason = "cursor-unreadable"


class Told(Protocol):
    """A change of a read model, and the record that it is from. Those of one place stand in the order of their offsets."""

    @property
    def place(self) -> Place: ...
    @property
    def offset(self) -> int: ...
    @property
    def type_name(self) -> str: ...


Change = TypeVar("Change", bound=Told)


def read_cursor(text: str | None, topics: Iterable[Topic], now: Callable[[], Cursor]) -> Cursor:
    """Where to begin; ``now()`` without a text. Raises ``CursorRefused``."""
    if text is None:
        return now()
    if text == BEGINNING:
        return Cursor({})
    try:
        cursor = Cursor.decode(text)
    except CursorUnreadable as unreadable:
        raise CursorRefused(problem=str(unreadable)) from unreadable
    strange = sorted({place.topic for place in cursor.offsets} - {topic.name for topic in topics})
    if strange:
        raise CursorRefused(problem=f"It names {', '.join(strange)}, which is not followed here.")
    return cursor


class EventStream(Generic[Change]):
    """One connection: the ``changes`` from ``behind`` on, each with the cursor behind it. More may come at their end.

    It ends when edge stops, and when it may not go on: asked before anything is told, and at least every
    ``ALIVE_EVERY_S``; a record of ``ends_by`` is a reason to ask. ``for_ever`` False: it ends, with an event that says so,
    once all that is known has been told.
    """

    def __init__(
        self,
        door: Door,
        changes: Sequence[Change],
        behind: Cursor,
        *,
        data: Callable[[Change], str],
        may_go_on: Callable[[], Awaitable[bool]],
        ends_by: Iterable[Topic] = (),
        for_ever: bool = True,
    ) -> None:
        self._door = door
        self._changes = changes
        self._offsets = dict(behind.offsets)
        self._data = data
        self._may_go_on = may_go_on
        self._ends_by = frozenset(topic.name for topic in ends_by)
        self._for_ever = for_ever
        self._sent = 0
        self._news = asyncio.Event()

    async def events(self) -> AsyncIterator[str]:
        """The stream begins with an id alone: the cursor to begin with again if it breaks before the first event."""
        ignore = self._door.view.listen(self._hear)
        try:
            yield f"id: {self._cursor()}\n\n"
            while not self._door.stopping.is_set() and await self._may_go_on():
                self._news.clear()
                while self._sent < len(self._changes):
                    change = self._changes[self._sent]
                    self._sent += 1
                    if change.offset >= self._offsets.get(change.place, 0):
                        self._offsets[change.place] = change.offset + 1
                        yield self._event(change.type_name, self._data(change))
                if not self._for_ever:
                    yield self._event(UP_TO_DATE, "{}")
                    return
                if not await self._wait():
                    yield ": alive\n\n"
        finally:
            ignore()

    def _hear(self, received: Received) -> None:
        if len(self._changes) > self._sent or received.topic in self._ends_by:
            self._news.set()

    def _event(self, name: str, data: str) -> str:
        return f"id: {self._cursor()}\nevent: {name}\ndata: {data}\n\n"

    def _cursor(self) -> str:
        return Cursor(self._offsets).encode()

    async def _wait(self) -> bool:
        """Whether there is news, or edge stops, before it is time to show that the connection lives."""
        waiting = [asyncio.create_task(event.wait()) for event in (self._news, self._door.stopping)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=ALIVE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return bool(done)
