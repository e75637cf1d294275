"""Ports of a stack: chosen once, kept as long as they are free."""

from __future__ import annotations

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


def assign(remembered: Path, names: Sequence[str]) -> dict[str, int]:
    """A free port on loopback for each name: the one in the file ``remembered`` if still free, else a new one."""
    known: dict[str, int] = json.loads(remembered.read_text()) if remembered.exists() else {}
    for name in names:
        if name not in known or not is_free(known[name]):
            known[name] = _free_port(taken=set(known.values()))
    remembered.write_text(json.dumps(known, indent=2) + "\n")
    return {name: known[name] for name in names}


def _free_port(taken: set[int]) -> int:
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST + 1), ATTEMPTS_MAX):
        if port not in taken and is_free(port):
            return port
    raise AssertionError(f"{ATTEMPTS_MAX} ports between {LOWEST} and {HIGHEST} are all taken")
