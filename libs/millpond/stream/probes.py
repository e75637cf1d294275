"""``/live``, ``/ready`` and ``/metrics`` of a program that is no ``Service``, on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from uvicorn import Config

from millpond.settings import HealthSettings
from millpond.stream.listening import Listener
from millpond.telemetry.metrics import Metrics

# How long an open question may take to end.
GOODBYE_S = 2


class Probes:
    """Answers while the ``async with`` lasts. Live: the loop turns. Ready: ``why_not_ready`` gives no reasons.

    Should it end before, it sets ``stopping``: whoever watches the program would take it for dead.
    """

    def __init__(
        self,
        metrics: Metrics,
        why_not_ready: Callable[[], Sequence[str]],
        settings: HealthSettings,
        stopping: asyncio.Event,
    ) -> None:
        config = Config(
            _app(metrics, why_not_ready),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GOODBYE_S,
        )
        self._server = Listener(config, "MILLPOND_HEALTH")
        self._stopping = stopping
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Raises ``CannotListen``."""
        self._serving = asyncio.create_task(self._serve())
        while not self._server.started:
            done, _ = await asyncio.wait({self._serving}, timeout=0.01)
            if done:
                await self._serving
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Raises what it died of."""
        self._server.should_exit = True
        assert self._serving is not None
        await self._serving

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        finally:
            self._stopping.set()


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
