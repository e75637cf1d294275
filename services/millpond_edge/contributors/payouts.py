"""``GET /payouts/events``: a contributor follows what he has earned, and how he is paid, as Server-Sent Events."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from millpond.events.topics import REWARDS_PAYOUTS, REWARDS_STATEMENTS, TREASURY_SETTLEMENTS
from millpond.stream.database import DatabaseAway
from millpond_edge.door import OpenDoor
from millpond_edge.following import EVENT_STREAM, EventStream, read_cursor
from millpond_edge.gateways.bodies import ErrorShown
from millpond_edge.joining.sessions import SignedInEither
from millpond_edge.joining.store import JoiningStore
from millpond_edge.view.payouts import PayoutChange

FOLLOWED: Final = (REWARDS_STATEMENTS, REWARDS_PAYOUTS, TREASURY_SETTLEMENTS)

router = APIRouter(prefix="/payouts", tags=["contributors"])


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {EVENT_STREAM: {"schema": {"type": "string"}}}, "description": "id, event, data."},
        **{status: {"model": ErrorShown} for status in (400, 401, 422, 429, 503)},
    },
)
async def follow_payouts(
    session: SignedInEither,
    door: OpenDoor,
    cursor: Annotated[str | None, Query(description="An event's id, or `beginning`; without: from now on.")] = None,
    follow: Annotated[bool, Query(description="False: end, with `UpToDate`, behind what is known now.")] = True,
    last_event_id: Annotated[
        str | None, Header(description="The same as `cursor`, as browsers repeat it; it counts first.")
    ] = None,
) -> StreamingResponse:
    """The contributor's own statements, payout orders, and what became of them: `id` is the cursor behind it, `event` the
    type, `data` is `{"epoch", "event"}` with the event as it stands on its topic.

    The stream begins with an id alone: the cursor to begin with again if it breaks before the first event.
    """
    behind = read_cursor(last_event_id or cursor, FOLLOWED, lambda: door.payouts.told(door.view.cursor_of(FOLLOWED)))

    async def session_counts() -> bool:
        try:
            return await JoiningStore(door.database).is_signed_in(session.nonce, door.clock.now_ms())
        except DatabaseAway:
            # It may have been signed out by now. Who comes again is told that edge can't know.
            return False

    stream = EventStream(
        door,
        door.payouts.changes(session.contributor),
        behind,
        data=_data,
        may_go_on=session_counts,
        for_ever=follow,
    )
    return StreamingResponse(stream.events(), media_type=EVENT_STREAM, headers={"cache-control": "no-store"})


def _data(change: PayoutChange) -> str:
    # As it was written, not as this edge would write it: a contributor proves a statement by its bytes.
    return f'{{"epoch":{change.epoch},"event":{change.value.decode()}}}'
