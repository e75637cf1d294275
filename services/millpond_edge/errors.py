"""Refusals: each has a status, a reason for programs and a sentence for people; every answer of ours has this shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import ClassVar

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from millpond.blobs import BlobStoreFailed
from millpond.errors import MillpondError
from millpond.stream.database import DatabaseAway
from millpond.stream.follow import FollowEnded
from millpond.stream.source import NotAcknowledged

RETRY_AFTER_S = 1
# A stranger's value is quoted in a sentence; a megabyte of it would be an attack on its reader.
QUOTED_CHARACTERS_MAX = 120

log = structlog.get_logger(__name__)


class Refusal(MillpondError):
    """Edge refuses this."""

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "refused"
    headers: ClassVar[Mapping[str, str]] = {}


class Starting(Refusal):
    """This edge has not yet read what it answers from: {what}. Ask again in a second, or ask another one."""

    status = 503
    reason = "starting"
    headers: ClassVar[Mapping[str, str]] = {"retry-after": str(RETRY_AFTER_S)}


class BodyTooLarge(Refusal):
    """The body has more than {allowed} bytes, which is the most that this route takes. Send less."""

    status = 413
    reason = "body-too-large"


def error_body(reason: str, sentence: str) -> dict[str, dict[str, str]]:
    """The one shape of an error, here and on the WebSocket."""
    return {"error": {"reason": reason, "sentence": sentence}}


def error_answer(status: int, reason: str, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(error_body(reason, sentence), status, dict(headers or {}))


def answer_errors(app: FastAPI) -> None:
    """Gives every error of the app that shape."""
    app.add_exception_handler(Refusal, _refusal)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for passing in (NotAcknowledged, FollowEnded, DatabaseAway, BlobStoreFailed):
        app.add_exception_handler(passing, _try_again)
    app.add_exception_handler(Exception, _surprise)


async def _refusal(_request: Request, refusal: Exception) -> JSONResponse:
    assert isinstance(refusal, Refusal)
    return error_answer(refusal.status, refusal.reason, str(refusal), refusal.headers)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        found = "missing"
    else:
        found = json.dumps(first.get("input"), default=str, ensure_ascii=True)[:QUOTED_CHARACTERS_MAX]
    message = first["msg"].removeprefix("Value error, ")
    sentence = (
        f"{field} is {found}: {message}. Correct it and send the request again; /openapi.json says what is expected."
    )
    return error_answer(422, "invalid-field", sentence)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    reasons = {404: "no-such-route", 405: "method-not-allowed"}
    sentence = (
        f"{request.method} {request.url.path[:QUOTED_CHARACTERS_MAX]}: {error.detail}. /openapi.json lists the routes."
    )
    return error_answer(error.status_code, reasons.get(error.status_code, "refused"), sentence, error.headers)


async def _try_again(_request: Request, error: Exception) -> JSONResponse:
    reason = "not-acknowledged" if isinstance(error, NotAcknowledged) else "away"
    return error_answer(503, reason, str(error), {"retry-after": str(RETRY_AFTER_S)})


async def _surprise(request: Request, error: Exception) -> JSONResponse:
    log.error("request_failed", method=request.method, path=request.url.path, cause=repr(error), exc_info=error)
    sentence = (
        "Something unexpected happened here; it is in edge's log. Whether the request had an effect is unknown: ask."
    )
    return error_answer(500, "internal", sentence)
