"""Wiring: the routes, and the one shape of errors."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from millpond_runner.routes import about, hardware, outputs, transcode
from millpond_runner.routes.refusals import answer_errors
from millpond_runner.workshop import Workshop


def create_app(workshop: Workshop) -> FastAPI:
    """Nothing is read from the environment here."""
    app = FastAPI(
        title="Millpond runner",
        description="A segment in, its renditions out.",
        version=about.VERSION,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.workshop = workshop
    for module in (about, hardware, transcode, outputs):
        app.include_router(module.router)
    answer_errors(app)
    app.add_middleware(TrailingSlash)
    return app


class TrailingSlash:
    """``/health/`` is ``/health``: some of go-livepeer's callers write it that way, and a redirect would cost an upload."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and len(scope["path"]) > 1:
            scope = {**scope, "path": scope["path"].removesuffix("/")}
        await self._app(scope, receive, send)
