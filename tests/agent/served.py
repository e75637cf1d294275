"""An ASGI app on a free port of this machine, in the test's own event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=0)
    server = uvicorn.Server(config)
    server.capture_signals = _nothing  # type: ignore[method-assign]  # signals are pytest's
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started:  # noqa: ASYNC110  # it has no event for that
        await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        # At once: uvicorn's own way out waits for ticks of its clock.
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        for each in server.servers:
            each.close()
        for connection in list(server.server_state.connections):
            connection.transport.close()  # type: ignore[union-attr]  # of every protocol that uvicorn has
        for task in list(server.server_state.tasks):
            task.cancel()
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)
        listening.close()


class _nothing:  # noqa: N801  # stands in for a function
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...
