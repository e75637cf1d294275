"""``/wallet``: what the pool's own page asks for the contributor in front of it. Machines and programs don't need it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from millpond.events.agent_enrolments import SignedIn, sign_in_item
from millpond.events.topics import AGENT_ENROLMENTS
from millpond.stream.source import Observed
from millpond_edge.credentials.strangers import Stranger
from millpond_edge.door import Door, OpenDoor
from millpond_edge.gateways.bodies import ErrorShown
from millpond_edge.joining.bodies import (
    CodeShown,
    DelegationSigned,
    OwnDevice,
    OwnDevices,
    SessionShown,
    SignInAsked,
    SignInOffered,
    SignInSigned,
)
from millpond_edge.joining.checks import checked_delegation
from millpond_edge.joining.errors import (
    CodeExpired,
    CodeUsed,
    DeviceForeign,
    NoSuchCode,
    NotTheSigner,
)
from millpond_edge.joining.machines import CODE_MINUTES, device_shown, instant
from millpond_edge.joining.sessions import (
    PATH,
    OwnPage,
    SignedInSession,
    drop_cookie,
    set_cookie,
)
from millpond_edge.joining.sign_in import offer_sign_in, open_session
from millpond_edge.joining.store import JoiningStore, Session, StoredEnrolment

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShown} for status in (401, 403, 404, 409, 410, 422, 429, 503)
}

router = APIRouter(prefix=PATH, tags=["the page"], responses=REFUSALS)


@router.get("/codes/{code}")
async def get_code(code: str, door: OpenDoor, _: Stranger) -> CodeShown:
    """The machine behind a code, for whoever has the code."""
    found = await _enrolment(door, code)
    return CodeShown(
        code=found.code,
        device=found.device,
        state="waiting" if found.delegation is None else "delegated",
        expires_at=instant(found.expires_at_ms),
        contributor=found.contributor,
        standing=device_shown(door, found.device),
    )


@router.post("/codes/{code}/delegation", status_code=202)
async def post_code_delegation(
    code: str, sent: DelegationSigned, session: SignedInSession, door: OpenDoor, _: OwnPage
) -> CodeShown:
    """What the wallet signed, for the machine to fetch: it hands it in, with its consent. A code is used once."""
    arrived_ms = door.clock.now_ms()
    action = await checked_delegation(door, sent)
    if sent.signer != session.contributor:
        raise NotTheSigner(signer=sent.signer, contributor=session.contributor)
    found = await require_open(door, code)
    if action.device != found.device:
        raise DeviceForeign(asker=f"The code {code}", device=action.device, owner="which is not the one behind it")
    await _tell_sign_in(door, session, arrived_ms)
    if not await JoiningStore(door.database).delegate(
        code, contributor=sent.signer, delegation=sent.model_dump_json(), now_ms=arrived_ms
    ):
        await require_open(door, code)
    return await get_code(code, door, None)


@router.post("/sign-ins", status_code=201)
async def post_sign_in(asked: SignInAsked, door: OpenDoor, _: Stranger, __: OwnPage) -> SignInOffered:
    """The text for a wallet to sign, which says that it is there."""
    return await offer_sign_in(door, asked.address)


@router.post("/sessions", status_code=201)
async def post_session(
    signed: SignInSigned, response: Response, door: OpenDoor, _: Stranger, __: OwnPage
) -> SessionShown:
    """The wallet has signed: a cookie for an hour, with which the page sees this contributor's devices."""
    session = await open_session(door, signed)
    set_cookie(response, door, session.token)
    return SessionShown(contributor=session.contributor, expires_at=instant(session.expires_at_ms))


@router.delete("/sessions", status_code=204)
async def delete_session(response: Response, session: SignedInSession, door: OpenDoor, _: OwnPage) -> None:
    """Signs out."""
    await JoiningStore(door.database).sign_out(session.nonce)
    drop_cookie(response)


@router.get("/devices")
async def get_devices(session: SignedInSession, door: OpenDoor) -> OwnDevices:
    """The contributor who is signed in, and his devices."""
    contributor = session.contributor
    return OwnDevices(
        contributor=contributor,
        state=door.members.contributor(contributor),
        sentence=door.members.contributor_sentence(contributor),
        devices=[_own_device(door, device) for device in door.members.devices_of(contributor)],
    )


async def require_open(door: Door, code: str) -> StoredEnrolment:
    """The code's machine. Raises ``NoSuchCode``, ``CodeExpired``, ``CodeUsed``."""
    found = await _enrolment(door, code)
    if found.delegation is not None:
        raise CodeUsed(code=code, contributor=found.contributor)
    return found


async def _enrolment(door: Door, code: str) -> StoredEnrolment:
    found = await JoiningStore(door.database).enrolment(code)
    if found is None:
        raise NoSuchCode(code=code[:32])
    if found.delegation is None and found.expires_at_ms <= door.clock.now_ms():
        raise CodeExpired(code=code, minutes=CODE_MINUTES)
    return found


async def _tell_sign_in(door: Door, session: Session, arrived_ms: int) -> None:
    """With the first machine that a session delegates; told again it is the same item, with the same bytes."""
    event = SignedIn(
        contributor=session.contributor, text=session.text, nonce=session.nonce, signature=session.signature
    )
    await door.source.publish([Observed(AGENT_ENROLMENTS, session.contributor, event, sign_in_item(event), arrived_ms)])


def _own_device(door: Door, device: str) -> OwnDevice:
    shown = device_shown(door, device)
    return OwnDevice(
        device=device,
        state=shown.state,
        expires_at=door.members.device(device).expires_at,
        reason=shown.reason,
        sentence=shown.sentence,
        jobs=len(door.jobs.open_assignments(device)),
    )
