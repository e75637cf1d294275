"""Who is signed in: a cookie that only our own page sends, or a token that a program shows. It lets look; what acts is signed."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Final

from fastapi import Depends, Request, Response
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from millpond_edge.door import Door, OpenDoor
from millpond_edge.joining.errors import NotSignedIn, OriginForeign
from millpond_edge.joining.store import JoiningStore, Session

COOKIE: Final = "millpond_session"
PATH: Final = "/wallet"
# The feed of payouts takes it, too. No other page can read what it shows, and what changes anything asks for the origin.
COOKIE_PATH: Final = "/"
SESSION_MINUTES: Final = 60

# So that the OpenAPI document says how.
_cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by POST /wallet/sessions.")
_bearer = HTTPBearer(auto_error=False, description="The token that POST /sessions answers.")


def own_page(request: Request, door: OpenDoor) -> None:
    """Raises ``OriginForeign`` unless the browser says that our own page asks: no other may act with its cookie."""
    origin = request.headers.get("origin", "missing")
    if origin != door.settings.public_url:
        raise OriginForeign(origin=origin[:120], own=door.settings.public_url)


OwnPage = Annotated[None, Depends(own_page)]


async def signed_in(door: OpenDoor, token: Annotated[str | None, Depends(_cookie)]) -> Session:
    """Raises ``NotSignedIn``, ``RateExceeded``."""
    return await _session(door, f"the cookie {COOKIE}", token)


async def signed_in_program(
    door: OpenDoor, shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Session:
    """Raises ``NotSignedIn``, ``RateExceeded``."""
    return await _session(door, "the token in Authorization (Bearer)", shown.credentials if shown else None)


async def signed_in_either(
    door: OpenDoor,
    shown: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
    token: Annotated[str | None, Depends(_cookie)],
) -> Session:
    """A token counts first. Raises ``NotSignedIn``, ``RateExceeded``."""
    return await (signed_in(door, token) if shown is None else signed_in_program(door, shown))


SignedInSession = Annotated[Session, Depends(signed_in)]
SignedInProgram = Annotated[Session, Depends(signed_in_program)]
SignedInEither = Annotated[Session, Depends(signed_in_either)]


async def _session(door: Door, credential: str, token: str | None) -> Session:
    if token is None:
        raise NotSignedIn(credential=credential, found="missing")
    session = await JoiningStore(door.database).session(token_hash(token), door.clock.now_ms())
    if session is None:
        raise NotSignedIn(credential=credential, found="unknown here, or over")
    # Behind the check: else a stranger could use up what is somebody else's.
    door.limits.take(session.contributor)
    return session


def new_token() -> str:
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def set_cookie(response: Response, door: Door, token: str) -> None:
    is_secure = door.settings.public_url.startswith("https:")
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_MINUTES * 60,
        path=COOKIE_PATH,
        secure=is_secure,
        httponly=True,
        samesite="strict",
    )


def drop_cookie(response: Response) -> None:
    response.delete_cookie(COOKIE, path=COOKIE_PATH, httponly=True, samesite="strict")
