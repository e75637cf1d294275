"""The pages: HTML, CSS and JavaScript as they lie in ``page/``, from this host only, and nothing else."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Annotated, Final

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from millpond_edge.joining.errors import NoSuchPage

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
}
FILES: Final = ("join.html", "devices.html", "page.css", "pool.js", "wallet.js", "join.js", "devices.js")
HEADERS: Final = {
    # Wallets announce their icons as data: URIs.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # The code stands in the address.
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}

router = APIRouter(tags=["the page"], default_response_class=Response)

IfNoneMatch = Annotated[str | None, Header()]


@router.get("/", status_code=307)
async def get_root() -> RedirectResponse:
    """To the page on which one joins."""
    return RedirectResponse("/join", headers=HEADERS)


@router.get("/join", response_class=HTMLResponse)
async def get_join(if_none_match: IfNoneMatch = None) -> Response:
    """The page on which a wallet lends a machine to the pool; it asks for the machine's code."""
    return _page("join.html", if_none_match)


@router.get("/join/{code}", response_class=HTMLResponse)
async def get_join_code(code: str, if_none_match: IfNoneMatch = None) -> Response:
    """The same with the code: what `millpond agent join` prints. The page's script reads it from the address."""
    del code
    return _page("join.html", if_none_match)


@router.get("/devices", response_class=HTMLResponse)
async def get_devices_page(if_none_match: IfNoneMatch = None) -> Response:
    """The page on which a contributor sees his devices, revokes one, or leaves."""
    return _page("devices.html", if_none_match)


@router.get("/page/{name}")
async def get_page_file(name: str, if_none_match: IfNoneMatch = None) -> Response:
    """The pages' styles and scripts."""
    return _page(name, if_none_match)


def _page(name: str, seen: str | None) -> Response:
    if name not in FILES:
        raise NoSuchPage(name=repr(name[:64]))
    content, tag = _read(name)
    headers = {**HEADERS, "etag": tag}
    if seen == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=TYPES[name.rsplit(".", 1)[1]])


@cache
def _read(name: str) -> tuple[bytes, str]:
    content = files(__package__).joinpath("page", name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'
