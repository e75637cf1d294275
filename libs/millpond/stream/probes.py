"""``/live``, ``/ready`` and ``/metrics`` of a program that is no ``Service``, on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from uvicorn import Config, Server

from millpond.errors import MillpondError
from millpond.telemetry.metrics import Metrics

# How long an open question may take to end.
GOODBYE_S = 2


class ProbesCantListen(MillpondError):
    """Nothing can listen on {host}:{port}: the address is in use, or not this machine's. Set MILLPOND_HEALTH_HOST and
    MILLPOND_HEALTH_PORT to a free one."""


class _Server(Server):
    """uvicorn without its signal handling: it raises the signal again when all is done, and the exit would look like a kill."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Probes:
    """Answers while the ``async with`` lasts. Live: the loop turns. Ready: ``why_not_ready`` gives no reasons."""

    def __init__(self, metrics: Metrics, why_not_ready: Callable[[], Sequence[str]], host: str, port: int) -> None:
        self._host, self._port = host, port
        app = _app(metrics, why_not_ready)
        self._server = _Server(
            Config(app, host=host, port=port, log_config=None, access_log=False, timeout_graceful_shutdown=GOODBYE_S)
        )
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises ``ProbesCantListen``."""
        self._serving = asyncio.create_task(self._serve())
        while not self._server.started:
            done, _ = await asyncio.wait({self._serving}, timeout=0.01)
            if done:
                await self._serving
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        assert self._serving is not None
        await self._serving

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit as cause:
            # uvicorn's way to say that the address is taken.
            raise ProbesCantListen(host=self._host, port=self._port) from cause


def _app(metrics: Metrics, why_not_ready: Callable[[], Sequence[str]]) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/live")
    async def live() -> JSONResponse:
        return JSONResponse({"ok": True, "reasons": []})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        reasons = list(why_not_ready())
        return JSONResponse({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")

    return app
