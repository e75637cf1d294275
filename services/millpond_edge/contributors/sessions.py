"""``/sign-ins``, ``/sessions``: a program signs in with the wallet that it has at hand. The page has its own, with a cookie."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from millpond_edge.credentials.strangers import Stranger
from millpond_edge.door import OpenDoor
from millpond_edge.gateways.bodies import ErrorShown
from millpond_edge.joining.bodies import SessionOpened, SignInAsked, SignInOffered, SignInSigned
from millpond_edge.joining.machines import instant
from millpond_edge.joining.sessions import SignedInProgram
from millpond_edge.joining.sign_in import offer_sign_in, open_session
from millpond_edge.joining.store import JoiningStore

REFUSALS: dict[int | str, dict[str, Any]] = {status: {"model": ErrorShown} for status in (401, 422, 429, 503)}

router = APIRouter(tags=["contributors"], responses=REFUSALS)


@router.post("/sign-ins", status_code=201)
async def post_sign_in(asked: SignInAsked, door: OpenDoor, _: Stranger) -> SignInOffered:
    """The text for a wallet to sign, which says that it is there. Sign it only if its first line names this pool's host."""
    return await offer_sign_in(door, asked.address)


@router.post("/sessions", status_code=201)
async def post_session(signed: SignInSigned, response: Response, door: OpenDoor, _: Stranger) -> SessionOpened:
    """The wallet has signed: a token for an hour, to be shown as `Authorization: Bearer …`. It lets look, and do nothing."""
    session = await open_session(door, signed)
    response.headers["cache-control"] = "no-store"
    return SessionOpened(
        token=session.token, contributor=session.contributor, expires_at=instant(session.expires_at_ms)
    )


@router.delete("/sessions", status_code=204)
async def delete_session(session: SignedInProgram, door: OpenDoor) -> None:
    """Signs out: the token counts no more."""
    await JoiningStore(door.database).sign_out(session.nonce)
