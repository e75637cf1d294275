"""Who may touch which blob: a gateway any whose hash it knows, a device what its jobs need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from starlette.requests import HTTPConnection

from millpond.events.scheduler_assignments import JobAssigned
from millpond_edge.credentials.devices import SCHEME, require_working, signing_device
from millpond_edge.credentials.gateways import admitted_gateway
from millpond_edge.door import Door, OpenDoor
from millpond_edge.gateways.errors import NothingAssigned, NotItsInput

# The agent may have heard of its job from another edge, which has read a little further than this one.
LAG_S: Final = 2.0


async def may_get(hash: str, connection: HTTPConnection, door: OpenDoor) -> None:
    """Raises what is raised for that kind of credential, and ``NotItsInput``."""
    device = _device(connection, door)
    if device is not None and not await _has(
        door, device, lambda jobs: any(hash == job.spec.source.hash for job in jobs)
    ):
        raise NotItsInput(hash=hash, device=device)


async def may_put(connection: HTTPConnection, door: OpenDoor) -> None:
    """Raises what is raised for that kind of credential, and ``NothingAssigned``."""
    device = _device(connection, door)
    if device is not None and not await _has(door, device, any):
        raise NothingAssigned(device=device)


def _device(connection: HTTPConnection, door: Door) -> str | None:
    """The working device that asks; None if it is an admitted gateway."""
    scheme, _, _ = connection.headers.get("authorization", "").partition(" ")
    if scheme == SCHEME:
        return require_working(door, signing_device(connection, door))
    admitted_gateway(connection, door)
    return None


async def _has(door: Door, device: str, wanted: Callable[[Iterable[JobAssigned]], bool]) -> bool:
    """Whether that is so of the device's open assignments, within ``LAG_S``."""
    news = asyncio.Event()
    ignore = door.view.listen(lambda _: news.set())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(LAG_S):
                while not wanted(door.jobs.open_assignments(device)):
                    news.clear()
                    await news.wait()
                return True
        return False
    finally:
        ignore()
