"""``/delegations``, ``/revocations``, ``/departures``: what a wallet has signed, wherever it was signed, is carried."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from millpond.events.agent_enrolments import EnrolmentAction, enrolment_item
from millpond.events.topics import AGENT_ENROLMENTS
from millpond.stream.source import Observed
from millpond_edge.credentials.strangers import Stranger
from millpond_edge.door import Door, OpenDoor
from millpond_edge.gateways.bodies import ErrorShown
from millpond_edge.joining.bodies import DelegationConsented, DepartureSigned, RevocationSigned, Taken
from millpond_edge.joining.checks import delegated, left, require_new, revoked

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShown} for status in (401, 403, 404, 409, 422, 429, 503)
}

router = APIRouter(tags=["signed actions"], responses=REFUSALS)


@router.post("/delegations", status_code=202)
async def post_delegation(sent: DelegationConsented, door: OpenDoor, _: Stranger) -> Taken:
    """A device hands in that a wallet delegated it, and that it agrees. `GET /devices/{device}` tells what the registry
    decides. The same again is the same."""
    arrived_ms = door.clock.now_ms()
    return await _carry(door, await delegated(door, sent), arrived_ms)


@router.post("/revocations", status_code=202)
async def post_revocation(sent: RevocationSigned, door: OpenDoor, _: Stranger) -> Taken:
    """A wallet takes the rights of its device away: from this answer on it gets no work here and is not heard."""
    arrived_ms = door.clock.now_ms()
    return await _carry(door, await revoked(door, sent), arrived_ms)


@router.post("/departures", status_code=202)
async def post_departure(sent: DepartureSigned, door: OpenDoor, _: Stranger) -> Taken:
    """A contributor leaves: his devices finish what they run, and get nothing new."""
    arrived_ms = door.clock.now_ms()
    return await _carry(door, await left(door, sent), arrived_ms)


async def _carry(door: Door, event: EnrolmentAction, arrived_ms: int) -> Taken:
    item = enrolment_item(event)
    async with door.view.carried.turn(event.signer):
        if require_new(door, event):
            await door.source.publish([Observed(AGENT_ENROLMENTS, event.signer, event, item, arrived_ms)])
            # From now on, before our own reading of the topic has come so far.
            door.view.carried.note(event)
            door.members.note(event, arrived_ms)
    return Taken(item=item)
