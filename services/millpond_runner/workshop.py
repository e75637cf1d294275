"""What the routes are given: one value, made where the runner is wired."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from millpond_runner.encoder import Ffmpeg
from millpond_runner.errors import Unauthorized
from millpond_runner.jobs import Jobs
from millpond_runner.workspace import Workspace


@dataclass(frozen=True)
class Workshop:
    """``gpu``: the UUID of the one card that is used and shown; None: all. ``token`` None: everybody may send jobs."""

    slots: int
    gpu: str | None
    token: str | None
    ffmpeg: Ffmpeg
    workspace: Workspace
    jobs: Jobs


def workshop(request: Request) -> Workshop:
    found: Workshop = request.app.state.workshop
    return found


def authorized(request: Request) -> Workshop:
    """For routes that touch jobs. Raises ``Unauthorized``."""
    found = workshop(request)
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    # As bytes: headers may hold anything.
    if found.token is None or (
        scheme.lower() == "bearer" and hmac.compare_digest(given.encode(), found.token.encode())
    ):
        return found
    raise Unauthorized


OpenWorkshop = Annotated[Workshop, Depends(workshop)]
AuthorizedWorkshop = Annotated[Workshop, Depends(authorized)]
