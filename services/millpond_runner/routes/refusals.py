"""What a caller hears when the answer is no: ``{"detail": {"msg", "reason"}}``, or a list of the fields that are wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from millpond.hardware.errors import GpusUnreadable
from millpond_runner.errors import NoSlot, Refused, UploadStalled

# Of a body that stalls nobody waits for the rest.
HEADERS: Final[Mapping[type[Refused], Mapping[str, str]]] = {
    NoSlot: {"Retry-After": "1"},
    UploadStalled: {"Connection": "close"},
}

log = structlog.get_logger(__name__)


def answer_errors(app: FastAPI) -> None:
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(GpusUnreadable, _gpus_unreadable)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _nobody_there)
    app.add_exception_handler(Exception, _surprise)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return _answer(error.status, error.reason, str(error), HEADERS.get(type(error)))


async def _invalid(_request: Request, error: Exception) -> Response:
    """Without the values: they are the caller's, and may be long."""
    assert isinstance(error, RequestValidationError)
    fields = [{"loc": each["loc"], "msg": each["msg"], "type": each["type"]} for each in error.errors()]
    return JSONResponse({"detail": fields}, 422)


async def _gpus_unreadable(_request: Request, error: Exception) -> Response:
    return _answer(500, "gpus-unreadable", str(error))


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = {404: "no-such-route", 405: "method-not-allowed"}.get(error.status_code, "refused")
    return _answer(error.status_code, reason, str(error.detail), error.headers)


async def _nobody_there(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)


async def _surprise(request: Request, error: Exception) -> Response:
    log.error("request_failed", method=request.method, path=request.url.path, cause=repr(error), exc_info=error)
    return _answer(500, "internal", "Something unexpected happened; it is in the runner's log.")


def _answer(status: int, reason: str, sentence: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"detail": {"msg": sentence, "reason": reason}}, status, headers)
