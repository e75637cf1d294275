"""Wiring of the intake: the topics of the gateways that are named, and edge's stamp."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import asyncpg

from millpond.events.topics import GATEWAY_JOBS, deadletters, gateway_requests
from millpond.settings import load
from millpond.stream import Received, Service
from millpond.stream.decision import Input
from millpond_edge.requests.rules import decide, fold
from millpond_edge.settings import RequestsSettings


class NoState:
    """The rules remember nothing; how far they have read is the library's."""

    schema = ""

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> None:
        return None

    async def save(self, connection: asyncpg.Connection, before: None, after: None) -> None:
        return None


async def stamp_ms(_received: Received) -> int:
    """The time of arrival: when edge has read it."""
    return time.time_ns() // 1_000_000


def no_keys(_received: Input) -> Iterable[str]:
    return ()


def build() -> Service[None]:
    """Raises ``SettingsInvalid``."""
    gateways = load(RequestsSettings).request_gateways
    return Service(
        name="edge",
        shape="grouped",
        reads=tuple(gateway_requests(gateway) for gateway in gateways),
        writes=(GATEWAY_JOBS,),
        dead_letters=deadletters("edge"),
        decide=decide,
        store=NoState(),
        keys=no_keys,
        observe=stamp_ms,
        fold=fold,
    )
