"""The ways in for machines and contributors who join: what they sign, the page's sessions, and what is open to all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from edge.joining.visitors import ALICE, MALLORY, address_of, delegation, said, signed
from edge.pool import CHAIN_ID, POOL
from incidents.edge_world import EXPIRED_CODE, EXPIRED_NONCE, EXPIRED_TEXT, EXPIRED_TOKEN, IDLE, NEWCOMER, WORKER, World
from incidents.refusals import Change, Refused, Request, Way
from millpond.identity import DeviceKey, Domain, LeavePool, RevokeDevice
from millpond_edge.joining.sessions import COOKIE

OTHER_POOL: Final = Domain(pool="puddle", chain_id=CHAIN_ID)
NO_REVOKING: Final = {"revoked": "a removed device may ask why it was removed, and be delegated anew"}
WALLETS_SIGN: Final = {
    "expired": "what takes rights away does not expire",
    "revoked": "a wallet's key can't be revoked; a number that was used counts no more: see nonces",
}


def _body(**changes: Any) -> Change:
    return lambda _, request: replace(request, json={**request.json, **changes})


def _without(field: str) -> Change:
    return lambda _, request: replace(request, json={k: v for k, v in request.json.items() if k != field})


def _instead(make: Callable[[], dict[str, Any]]) -> Change:
    return lambda _, request: replace(request, json={**request.json, **make()})


def _device(key: DeviceKey, **options: float) -> Change:
    return lambda world, request: request.authorized(world.signed(key, request.method, request.path, **options))


# --- Machines.


async def _get_device(world: World) -> Request:
    path = f"/devices/{WORKER.device}"
    return Request("GET", path, {"authorization": world.signed(WORKER, "GET", path)})


async def _post_enrolment(_: World) -> Request:
    signature = IDLE.sign(pool=POOL, kind="Enrolment", text=IDLE.device)
    return Request("POST", "/enrolments", json={"device": IDLE.device, "signature": signature})


async def _get_enrolment(world: World) -> Request:
    path = f"/enrolments/{world.code}"
    return Request("GET", path, {"authorization": world.signed(NEWCOMER, "GET", path)})


NOT_THAT_DEVICE: Final[Refused] = {
    "none": lambda _, request: request.authorized(None),
    "wrong: another path": lambda world, request: request.authorized(world.signed(WORKER, "GET", "/devices")),
    "expired": _device(WORKER, ahead_s=-1),
    "foreign: another device": _device(IDLE),
    "foreign: a gateway": lambda world, request: request.authorized(world.bearer("acme")["authorization"]),
}
NOT_THAT_ENROLMENT: Final[Refused] = {
    **NOT_THAT_DEVICE,
    "expired": _device(NEWCOMER, ahead_s=-1),
    "foreign: another device": _device(WORKER),
}
NOT_THAT_MACHINE: Final[Refused] = {
    "none": _without("signature"),
    "wrong: of nothing": _body(signature="0x" + "00" * 64),
    "wrong: of another kind": _body(signature=IDLE.sign(pool=POOL, kind="Consent", text=IDLE.device)),
    "wrong: for another pool": _body(signature=IDLE.sign(pool="puddle", kind="Enrolment", text=IDLE.device)),
    "foreign": _body(device=NEWCOMER.device),
}

# --- What wallets sign.


async def _delegate(_: World) -> Request:
    sent = delegation(NEWCOMER.device, nonce=20)
    consent = NEWCOMER.sign(pool=POOL, kind="Consent", text=address_of(ALICE))
    return Request("POST", "/delegations", json={**sent, "consent": consent})


async def _revoke(_: World) -> Request:
    return Request("POST", "/revocations", json=signed(RevokeDevice(device=IDLE.device, nonce=30)))


async def _leave(_: World) -> Request:
    return Request("POST", "/departures", json=signed(LeavePool(nonce=40)))


NOT_DELEGATED: Final[Refused] = {
    "none": _without("signature"),
    "none: no consent": _without("consent"),
    "wrong: of another": _body(signature=delegation(NEWCOMER.device, MALLORY, nonce=20)["signature"]),
    "wrong: another pool": _instead(lambda: delegation(NEWCOMER.device, nonce=20, domain=OTHER_POOL)),
    "wrong: another scope": _instead(lambda: delegation(NEWCOMER.device, nonce=20, scope="money")),
    "expired": _instead(lambda: delegation(NEWCOMER.device, nonce=20, expires_at=1_000)),
    "foreign: a device that does not agree": _instead(lambda: delegation(WORKER.device, nonce=20)),
    "foreign: in another's name": _body(signer=address_of(MALLORY)),
}
NOT_REVOKED: Final[Refused] = {
    "none": _without("signature"),
    "wrong: of another": _body(signature=signed(RevokeDevice(device=IDLE.device, nonce=30), MALLORY)["signature"]),
    "wrong: another pool": _instead(lambda: signed(RevokeDevice(device=IDLE.device, nonce=30), domain=OTHER_POOL)),
    "foreign: another's device": _instead(lambda: signed(RevokeDevice(device=IDLE.device, nonce=30), MALLORY)),
    "foreign: another action": _instead(lambda: signed(LeavePool(nonce=30))),
}
NOT_LEAVING: Final[Refused] = {
    "none": _without("signature"),
    "wrong: of another": _body(signature=signed(LeavePool(nonce=40), MALLORY)["signature"]),
    "wrong: another pool": _instead(lambda: signed(LeavePool(nonce=40), domain=OTHER_POOL)),
    "foreign: who is not in": _instead(lambda: signed(LeavePool(nonce=40), "0x" + "0b" * 32)),
    "foreign: another action": _instead(lambda: signed(RevokeDevice(device=IDLE.device, nonce=40))),
}

# --- The page.


def _session(token: str | None) -> Change:
    cookie = {} if token is None else {"cookie": f"{COOKIE}={token}"}
    others = lambda headers: {name: value for name, value in headers.items() if name != "cookie"}  # noqa: E731
    return lambda _, request: replace(request, headers={**others(request.headers), **cookie})


def _from(origin: str | None) -> Change:
    others = lambda headers: {name: value for name, value in headers.items() if name != "origin"}  # noqa: E731
    said_so = {} if origin is None else {"origin": origin}
    return lambda _, request: replace(request, headers={**others(request.headers), **said_so})


NOT_SIGNED_IN: Final[Refused] = {
    "none": _session(None),
    "wrong": _session("guessed"),
    "expired": _session(EXPIRED_TOKEN),
    "revoked: signed out": lambda world, request: replace(
        request, headers={**request.headers, "cookie": f"{COOKIE}={world.signed_out}"}
    ),
}
ANOTHER_PAGE: Final[Refused] = {"foreign: another page": _from("https://evil.example"), "foreign: no page": _from(None)}


async def _get_code(world: World) -> Request:
    return Request("GET", f"/wallet/codes/{world.code}")


async def _post_code(world: World) -> Request:
    sent = delegation(NEWCOMER.device, nonce=50)
    return Request("POST", f"/wallet/codes/{world.code}/delegation", world.cookie(world.alice), json=sent)


async def _post_sign_in(world: World) -> Request:
    return Request("POST", "/wallet/sign-ins", {"origin": world.edge.url}, json={"address": address_of(ALICE)})


async def _post_session(world: World) -> Request:
    body = {"nonce": world.offered["nonce"], "signature": said(world.offered["text"])}
    return Request("POST", "/wallet/sessions", {"origin": world.edge.url}, json=body)


async def _get_devices(world: World) -> Request:
    return Request("GET", "/wallet/devices", world.cookie(world.alice))


async def _post_draft(world: World) -> Request:
    asked = {"action": "RevokeDevice", "device": IDLE.device}
    return Request("POST", "/wallet/drafts", world.cookie(world.alice), json=asked)


async def _sign_out(world: World) -> Request:
    return Request("DELETE", "/wallet/sessions", world.cookie(world.mallory))


def _path(path: str) -> Change:
    return lambda _, request: replace(request, path=path)


def _public(path: str) -> Any:
    async def ask(_: World) -> Request:
        return Request("GET", path)

    return ask


NOT_THAT_CODE: Final[Refused] = {
    "none": _path("/wallet/codes/"),
    "wrong": _path("/wallet/codes/AAAA-AAAA"),
    "expired": _path(f"/wallet/codes/{EXPIRED_CODE}"),
}
NO_SESSION_YET: Final[Refused] = {
    "none": _without("signature"),
    "wrong: of another": lambda world, request: replace(
        request, json={**request.json, "signature": said(world.offered["text"], MALLORY)}
    ),
    "wrong: another text": _body(signature=said("Sign in to the puddle.")),
    "expired": lambda world, request: replace(request, json={"nonce": EXPIRED_NONCE, "signature": said(EXPIRED_TEXT)}),
    "revoked: a nonce that was used": lambda world, request: replace(
        request, json={**request.json, "nonce": world.used_nonce}
    ),
    **ANOTHER_PAGE,
}

WAYS: Final = (
    Way("GET /devices/{device}", _get_device, NOT_THAT_DEVICE, absent=NO_REVOKING),
    Way(
        "POST /enrolments",
        _post_enrolment,
        NOT_THAT_MACHINE,
        absent={**NO_REVOKING, "expired": "it gives the machine that signed a new code, whenever it asks"},
    ),
    Way("GET /enrolments/{code}", _get_enrolment, NOT_THAT_ENROLMENT, absent=NO_REVOKING),
    Way(
        "GET /wallet/codes/{code}", _get_code, NOT_THAT_CODE, absent={"revoked": "see expired", "foreign": "see wrong"}
    ),
    Way("GET /wallet/devices", _get_devices, NOT_SIGNED_IN, absent={"foreign": "a session shows its own wallet's"}),
    Way("POST /wallet/drafts", _post_draft, {**NOT_SIGNED_IN, **ANOTHER_PAGE}),
    Way(
        "POST /wallet/sign-ins",
        _post_sign_in,
        ANOTHER_PAGE,
        absent=dict.fromkeys(("none", "wrong", "expired", "revoked"), "whoever asks gets a text to sign"),
    ),
    Way("POST /wallet/sessions", _post_session, NO_SESSION_YET),
    Way(
        "POST /wallet/codes/{code}/delegation",
        _post_code,
        {
            **NOT_SIGNED_IN,
            **ANOTHER_PAGE,
            "foreign: another wallet": lambda world, request: replace(request, headers=world.cookie(world.mallory)),
            "foreign: another machine": _instead(lambda: delegation(WORKER.device, nonce=50)),
            "wrong: of another": _body(signature=delegation(NEWCOMER.device, MALLORY, nonce=50)["signature"]),
        },
    ),
    Way("DELETE /wallet/sessions", _sign_out, {**NOT_SIGNED_IN, **ANOTHER_PAGE}),
    Way("POST /delegations", _delegate, NOT_DELEGATED, absent={"revoked": "see POST /revocations"}),
    Way("POST /revocations", _revoke, NOT_REVOKED, absent=WALLETS_SIGN),
    Way("POST /departures", _leave, NOT_LEAVING, absent=WALLETS_SIGN),
    *(
        Way(f"GET {route}", _public(path), open_to_all=why)
        for route, path, why in (
            ("/pool", "/pool", "which pool this is, must be known before anything can be signed for it"),
            ("/terms", "/terms", "the terms are public"),
            ("/openapi.json", "/openapi.json", "so is what may be asked"),
            ("/", "/", "a page without anybody's data"),
            ("/join", "/join", "a page without anybody's data"),
            ("/join/{code}", "/join/AAAA-AAAA", "the page; what belongs to the code it asks for itself"),
            ("/devices", "/devices", "the page; whose devices it may show it asks for itself"),
            ("/page/{name}", "/page/page.css", "its styles and scripts"),
        )
    ),
)
