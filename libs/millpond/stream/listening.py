"""An HTTP server inside a program that ends when the program says so, and not by itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from uvicorn import Config, Server

from millpond.errors import MillpondError


class CannotListen(MillpondError):
    """Nothing can listen on {host}:{port}: the address is in use, or not this machine's. Set {settings}_HOST and
    {settings}_PORT to a free one."""


class Listener(Server):
    """uvicorn without what it does to the process. ``settings``: how the names of those two begin that say where."""

    def __init__(self, config: Config, settings: str) -> None:
        super().__init__(config)
        self._settings = settings

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again when all is done, and the exit would look like a kill.
        yield

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until ``should_exit``, or until the app could not start: it knows why. Raises ``CannotListen``."""
        try:
            await super().serve(sockets)
        except SystemExit as cause:
            # uvicorn's way to say either; it would end the event loop in the middle of everything else.
            if not self.lifespan.should_exit:
                raise CannotListen(host=self.config.host, port=self.config.port, settings=self._settings) from cause
