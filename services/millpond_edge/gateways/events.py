"""``GET /jobs/events``: a gateway follows its own jobs, as Server-Sent Events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from millpond.events.topics import SCHEDULER_ASSIGNMENTS
from millpond.stream.cursor import Cursor, CursorUnreadable
from millpond_edge.credentials.gateways import Gateway, verify_key
from millpond_edge.door import Door, OpenDoor
from millpond_edge.errors import Refusal
from millpond_edge.gateways.bodies import ErrorShown, JobShown
from millpond_edge.gateways.errors import CursorRefused
from millpond_edge.view.jobs import Change

BEGINNING: Final = "beginning"
ALIVE_EVERY_S: Final = 15.0
EVENT_STREAM: Final = "text/event-stream"

router = APIRouter(prefix="/jobs", tags=["jobs"])


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}, "description": "id, event, data; for ever."},
        **{status: {"model": ErrorShown} for status in (400, 401, 403, 429, 503)},
    },
)
async def follow_jobs(
    request: Request,
    gateway: Gateway,
    door: OpenDoor,
    cursor: Annotated[str | None, Query(description="An event's id, or `beginning`; without: from now on.")] = None,
    last_event_id: Annotated[
        str | None, Header(description="The same, as browsers repeat it; it counts first.")
    ] = None,
) -> StreamingResponse:
    """What the scheduler says about this gateway's jobs: `id` is the cursor behind it, `data` the job as in GET /jobs/{job}.

    The stream begins with an id alone: the cursor to begin with again if it breaks before the first event.
    """
    behind = _read_cursor(door, last_event_id or cursor)
    stream = _Stream(door, gateway, request.headers.get("authorization"), behind)
    return StreamingResponse(stream.events(), media_type=EVENT_STREAM, headers={"cache-control": "no-store"})


def _read_cursor(door: Door, text: str | None) -> Cursor:
    if text is None:
        return door.view.cursor_of([SCHEDULER_ASSIGNMENTS])
    if text == BEGINNING:
        return Cursor({})
    try:
        cursor = Cursor.decode(text)
    except CursorUnreadable as unreadable:
        raise CursorRefused(problem=str(unreadable)) from unreadable
    strange = sorted({place.topic for place in cursor.offsets} - {SCHEDULER_ASSIGNMENTS.name})
    if strange:
        raise CursorRefused(problem=f"It names {', '.join(strange)}, which is not followed here.")
    return cursor


class _Stream:
    """One connection. It ends when edge stops, and when its key no longer counts."""

    def __init__(self, door: Door, gateway: str, authorization: str | None, behind: Cursor) -> None:
        self._door = door
        self._authorization = authorization
        self._changes = door.jobs.changes(gateway)
        self._offsets = dict(behind.offsets)
        self._news = asyncio.Event()

    async def events(self) -> AsyncIterator[str]:
        sent = 0
        ignore = self._door.view.listen(lambda _: self._news.set())
        try:
            yield f"id: {Cursor(self._offsets).encode()}\n\n"
            while self._may_go_on():
                self._news.clear()
                while sent < len(self._changes):
                    change = self._changes[sent]
                    sent += 1
                    if change.offset >= self._offsets.get(change.place, 0):
                        yield self._event(change)
                if not await self._wait():
                    yield ": alive\n\n"
        finally:
            ignore()

    def _event(self, change: Change) -> str:
        self._offsets[change.place] = change.offset + 1
        data = JobShown.of(change.job).model_dump_json()
        return f"id: {Cursor(self._offsets).encode()}\nevent: {change.type_name}\ndata: {data}\n\n"

    def _may_go_on(self) -> bool:
        try:
            verify_key(self._door, self._authorization)
        except Refusal:
            return False
        return not self._door.stopping.is_set()

    async def _wait(self) -> bool:
        """Whether there is news, or edge stops, before it is time to show that the connection lives."""
        waiting = [asyncio.create_task(event.wait()) for event in (self._news, self._door.stopping)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=ALIVE_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
        return bool(done)
