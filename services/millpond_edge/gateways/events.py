"""``GET /jobs/events``: a gateway follows its own jobs, as Server-Sent Events."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from millpond.events.topics import REGISTRY_GATEWAYS, SCHEDULER_ASSIGNMENTS
from millpond_edge.credentials.gateways import Gateway, verify_key
from millpond_edge.door import OpenDoor
from millpond_edge.errors import Refusal
from millpond_edge.following import EVENT_STREAM, EventStream, read_cursor
from millpond_edge.gateways.bodies import ErrorShown, JobShown
from millpond_edge.view.jobs import Change

FOLLOWED: Final = (SCHEDULER_ASSIGNMENTS,)

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
    behind = read_cursor(last_event_id or cursor, FOLLOWED, lambda: door.view.cursor_of(FOLLOWED))

    async def key_counts() -> bool:
        try:
            verify_key(door, request.headers.get("authorization"))
        except Refusal:
            return False
        return True

    stream = EventStream(
        door, door.jobs.changes(gateway), behind, data=_data, may_go_on=key_counts, ends_by=[REGISTRY_GATEWAYS]
    )
    return StreamingResponse(stream.events(), media_type=EVENT_STREAM, headers={"cache-control": "no-store"})


def _data(change: Change) -> str:
    return JobShown.of(change.job).model_dump_json()
