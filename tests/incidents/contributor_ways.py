"""The ways in for contributors' programs, and the feed of payouts, to which the page's cookie opens, too."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from edge.joining.visitors import ALICE, MALLORY, address_of, said
from edge.pool import api_key
from incidents.edge_world import EXPIRED_NONCE, EXPIRED_TEXT, EXPIRED_TOKEN, WORKER, World
from incidents.joining_ways import NOT_SIGNED_IN
from incidents.refusals import KINDS, Change, Refused, Request, Way
from millpond_edge.joining.sessions import COOKIE

FEED: Final = "/payouts/events"
# The feed has no field for somebody else's address.
OWN_ONLY: Final = {"foreign": "a session shows its own wallet's"}


def _shows(authorization: str | None) -> Change:
    return lambda _, request: request.authorized(authorization)


def _body(**changes: str) -> Change:
    return lambda _, request: replace(request, json={**request.json, **changes})


NO_TOKEN: Final[Refused] = {
    "none": _shows(None),
    "none: only a scheme": _shows("Bearer"),
    "wrong: a guess": _shows("Bearer guessed"),
    "wrong: another scheme": lambda world, request: request.authorized(f"Basic {world.token}"),
    "wrong: the nonce, which everybody may see": lambda world, request: request.authorized(
        f"Bearer {world.used_nonce}"
    ),
    "expired": _shows(f"Bearer {EXPIRED_TOKEN}"),
    "revoked: signed out": lambda world, request: request.authorized(f"Bearer {world.signed_out}"),
    "foreign: a gateway's key": lambda world, request: request.authorized(world.bearer("acme")["authorization"]),
    "foreign: nobody's key": _shows(f"Bearer {api_key('acme')}"),
    "foreign: a device": lambda world, request: request.authorized(world.signed(WORKER, request.method, request.path)),
}
# Who shows a token that is over is not let in by the cookie of the browser that he sits in.
NOT_BY_ITS_COOKIE: Final[Refused] = {
    "wrong: beside a good cookie": lambda world, request: replace(
        request, headers={**world.cookie(world.alice), "authorization": "Bearer guessed"}
    ),
}
NO_SESSION_YET: Final[Refused] = {
    "none": lambda _, request: replace(request, json={"nonce": request.json["nonce"]}),
    "wrong: of another": lambda world, request: replace(
        request, json={**request.json, "signature": said(world.offered_too["text"], MALLORY)}
    ),
    "wrong: another text": _body(signature=said("Sign in to the puddle.")),
    "expired": lambda _, request: replace(request, json={"nonce": EXPIRED_NONCE, "signature": said(EXPIRED_TEXT)}),
    "revoked: a nonce that was used": lambda world, request: replace(
        request, json={**request.json, "nonce": world.used_nonce}
    ),
    "foreign: a text offered for another sign-in": lambda world, request: replace(
        request, json={**request.json, "signature": said(world.offered["text"])}
    ),
}


async def _post_sign_in(_: World) -> Request:
    return Request("POST", "/sign-ins", json={"address": address_of(ALICE)})


async def _post_session(world: World) -> Request:
    body = {"nonce": world.offered_too["nonce"], "signature": said(world.offered_too["text"])}
    return Request("POST", "/sessions", json=body)


async def _sign_out(world: World) -> Request:
    return Request("DELETE", "/sessions", {"authorization": f"Bearer {world.token}"})


async def _follow(world: World) -> Request:
    return Request("GET", FEED, {"authorization": f"Bearer {world.token}"})


async def _follow_from_the_page(world: World) -> Request:
    return Request("GET", FEED, {"cookie": f"{COOKIE}={world.alice.http.cookies[COOKIE]}"})


WAYS: Final = (
    Way("POST /sign-ins", _post_sign_in, absent=dict.fromkeys(KINDS, "whoever asks gets a text to sign")),
    Way("POST /sessions", _post_session, NO_SESSION_YET),
    Way("GET /payouts/events", _follow, {**NO_TOKEN, **NOT_BY_ITS_COOKIE}),
    Way("GET /payouts/events", _follow_from_the_page, NOT_SIGNED_IN, absent=OWN_ONLY),
    Way("DELETE /sessions", _sign_out, NO_TOKEN),
)
