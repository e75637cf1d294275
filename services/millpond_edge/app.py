"""Wiring: the routes, the one shape of errors, and the limit on bodies."""

from __future__ import annotations

from fastapi import FastAPI

from millpond_edge.agents.roster import Roster
from millpond_edge.agents.router import router as agents
from millpond_edge.body_limit import BodyLimit
from millpond_edge.contributors.router import router as contributors
from millpond_edge.door import Door
from millpond_edge.errors import answer_errors
from millpond_edge.gateways.router import router as gateways
from millpond_edge.joining.router import router as joining


def create_app(door: Door, roster: Roster) -> FastAPI:
    """The pool's door; ``roster`` is run beside it. Each route takes ``OpenDoor``; nothing is read from the environment here."""
    app = FastAPI(
        title="Millpond edge",
        description="The door of a Livepeer orchestrator pool: gateways send jobs, agents do them.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.door = door
    app.state.roster = roster
    app.include_router(gateways)
    app.include_router(agents)
    app.include_router(joining)
    app.include_router(contributors)
    answer_errors(app)
    app.add_middleware(BodyLimit)
    return app
