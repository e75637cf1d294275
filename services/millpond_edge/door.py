"""What the routes are given: one value, made where edge is wired."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Annotated

import asyncpg
from fastapi import Depends
from starlette.requests import HTTPConnection

from millpond.blobs import BlobStore
from millpond.identity import Domain
from millpond.stream.process import Clock
from millpond.stream.source import Source
from millpond_edge.credentials.limits import RateLimits, strangers_limits
from millpond_edge.errors import Starting
from millpond_edge.settings import EdgeSettings
from millpond_edge.view.gateways import Gateways
from millpond_edge.view.jobs import Jobs
from millpond_edge.view.members import Members
from millpond_edge.view.payouts import Payouts
from millpond_edge.view.usage import Usage
from millpond_edge.view.view import View


@dataclass(frozen=True)
class Door:
    """``clock`` stamps every arrival. Once ``stopping`` is set, whoever holds a connection open ends it.

    ``strangers`` bounds by address what needs no credential; ``limits`` is by credential.
    """

    settings: EdgeSettings
    domain: Domain
    source: Source
    blobs: BlobStore
    view: View
    database: asyncpg.Pool
    clock: Clock
    limits: RateLimits
    stopping: asyncio.Event
    strangers: RateLimits = field(default_factory=strangers_limits)

    @property
    def gateways(self) -> Gateways:
        return self.view.gateways

    @property
    def members(self) -> Members:
        return self.view.members

    @property
    def jobs(self) -> Jobs:
        return self.view.jobs

    @property
    def usage(self) -> Usage:
        return self.view.usage

    @property
    def payouts(self) -> Payouts:
        return self.view.payouts


def open_door(connection: HTTPConnection) -> Door:
    """The app's door, for a route or a WebSocket. Raises ``Starting`` while the read models are worth nothing."""
    door: Door = connection.app.state.door
    if door.view.why_stopped is not None:
        raise Starting(what=door.view.why_stopped)
    if not door.view.caught_up.is_set():
        raise Starting(what="the topics of the registry and the scheduler")
    return door


OpenDoor = Annotated[Door, Depends(open_door)]
