"""``/wallet``: what the pool's own page asks for the contributor in front of it. Machines and programs don't need it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from fastapi import APIRouter, Response

from millpond.events.agent_enrolments import SignedIn, sign_in_item
from millpond.events.topics import AGENT_ENROLMENTS
from millpond.identity import ActionRefused, SignIn, verify_sign_in
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
    SignatureRefused,
    SignInUnknown,
)
from millpond_edge.joining.machines import CODE_MINUTES, device_shown, instant
from millpond_edge.joining.sessions import (
    PATH,
    SESSION_MINUTES,
    OwnPage,
    SignedInSession,
    drop_cookie,
    new_token,
    set_cookie,
    token_hash,
)
from millpond_edge.joining.store import JoiningStore, Session, StoredEnrolment

SIGN_IN_MINUTES = 10

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
    now_ms = door.clock.now_ms()
    expires_at_ms = now_ms + SIGN_IN_MINUTES * 60_000
    own = door.settings.public_url
    sign_in = SignIn(
        domain=own.split("://")[1],
        address=asked.address,
        statement=f"Sign in to the pool {door.domain.pool}. This costs nothing, and moves no money.",
        uri=f"{own}/join",
        chain_id=door.domain.chain_id,
        nonce=secrets.token_hex(16),
        issued_at=instant(now_ms),
        expires_at=instant(expires_at_ms),
    )
    await JoiningStore(door.database).offer(
        sign_in.nonce, contributor=asked.address, text=sign_in.text, expires_at_ms=expires_at_ms, now_ms=now_ms
    )
    return SignInOffered(
        nonce=sign_in.nonce, text=sign_in.text, contributor=asked.address, expires_at=instant(expires_at_ms)
    )


@router.post("/sessions", status_code=201)
async def post_session(
    signed: SignInSigned, response: Response, door: OpenDoor, _: Stranger, __: OwnPage
) -> SessionShown:
    """The wallet has signed: a cookie for an hour, with which the page sees this contributor's devices."""
    store, now_ms = JoiningStore(door.database), door.clock.now_ms()
    unknown = SignInUnknown(nonce=signed.nonce, minutes=SIGN_IN_MINUTES)
    offered = await store.offered(signed.nonce, now_ms)
    if offered is None:
        raise unknown
    contributor, text = offered
    try:
        await asyncio.to_thread(verify_sign_in, text, address=contributor, signature=signed.signature)
    except ActionRefused as refused:
        raise SignatureRefused(refused) from refused
    token, expires_at_ms = new_token(), now_ms + SESSION_MINUTES * 60_000
    if not await store.sign_in(
        signed.nonce,
        signature=signed.signature,
        token_hash=token_hash(token),
        expires_at_ms=expires_at_ms,
        now_ms=now_ms,
    ):
        raise unknown
    set_cookie(response, door, token)
    return SessionShown(contributor=contributor, expires_at=instant(expires_at_ms))


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
