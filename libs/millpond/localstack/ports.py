"""Ports of a stack: chosen once, held while it is up, and found again by the next start as long as they are free."""

from __future__ import annotations

import contextlib
import json
import random
import socket
from collections.abc import Sequence
from pathlib import Path

# Below the range from which the kernel takes the ports of outgoing connections: otherwise a client of a broker that
# is down could sit on the broker's own port, and the broker could not come back.
LOWEST, HIGHEST = 20_000, 31_999
ATTEMPTS_MAX = 200


def listen(port: int) -> socket.socket:
    """Takes the port on loopback. Raises ``OSError`` if somebody else has it."""
    listener = socket.socket()
    # A server that has just ended leaves connections in TIME_WAIT; those don't stand in a new one's way.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def is_free(port: int) -> bool:
    try:
        listen(port).close()
    except OSError:
        return False
    return True


def hold(port: int) -> socket.socket:
    """Takes the port without listening, as long as the socket is open: whoever looks for one passes it by, and the server
    that it is for listens there all the same, since servers reuse addresses. Raises ``OSError`` if somebody listens there."""
    listen(port).close()
    return _bound(port, reuse=True)


def hold_free() -> socket.socket:
    """Takes a port that nobody has, or has had a moment ago."""
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST + 1), ATTEMPTS_MAX):
        with contextlib.suppress(OSError):
            return _bound(port, reuse=False)
    raise AssertionError(f"{ATTEMPTS_MAX} ports between {LOWEST} and {HIGHEST} are all taken")


def number_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])


def assign(remembered: Path, names: Sequence[str]) -> dict[str, socket.socket]:
    """A held port on loopback for each name: the one in the file ``remembered`` if still free, else a new one."""
    known: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
    held = {name: _held_again(known.get(name)) for name in names}
    known |= {name: number_of(each) for name, each in held.items()}
    remembered.write_text(json.dumps(known, indent=2) + "\n")
    return held


def _held_again(known: int | None) -> socket.socket:
    if known is not None:
        with contextlib.suppress(OSError):
            return hold(known)
    return hold_free()


def _bound(port: int, *, reuse: bool) -> socket.socket:
    """``reuse``: also where another socket is bound without listening, or connections are ending."""
    held = socket.socket()
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        held.bind(("127.0.0.1", port))
        # For those who bind from now on.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
    except OSError:
        held.close()
        raise
    return held
