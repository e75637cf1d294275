"""What edge says of itself on a port of its own: live, ready, metrics. The door's port has none of these."""

from __future__ import annotations

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse

from millpond.telemetry.metrics import Metrics
from millpond_edge.view.view import View


class Health:
    """Answers with reasons: an empty list means yes."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self._view: View | None = None

    def watch(self, view: View) -> None:
        """From now on its state is told."""
        self._view = view

    def why_not_ready(self) -> list[str]:
        if self._view is None:
            return ["starting: Kafka and the database have not both answered yet"]
        if self._view.why_stopped is not None:
            return [self._view.why_stopped]
        return [] if self._view.caught_up.is_set() else ["reading the topics from their beginnings"]


def health_app(health: Health) -> FastAPI:
    """``/live`` (the loop turns), ``/ready`` (200 or 503 with reasons), ``/metrics``."""
    app = FastAPI(openapi_url=None)

    @app.get("/live")
    async def live() -> JSONResponse:
        return JSONResponse({"ok": True, "reasons": []})

    @app.get("/ready")
    async def ready() -> JSONResponse:
        reasons = health.why_not_ready()
        return JSONResponse({"ok": not reasons, "reasons": reasons}, 503 if reasons else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(health.metrics.exposition(), media_type="text/plain; version=0.0.4")

    return app
