"""Whose a directory is: one process at a time, together with all that it has started."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from millpond.errors import MillpondError

# An owner that was just killed needs this long to take what it has started with it.
TAKEOVER_SECONDS_MAX = 20.0


class StackInUse(MillpondError):
    """Process {pid} already runs a stack in {directory}: stop it, or use another directory."""


def take(directory: Path) -> int:
    """The descriptor that holds the directory's lock; it is also held by each guard, until its processes have ended.

    Raises ``StackInUse``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + TAKEOVER_SECONDS_MAX
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            owner = int(os.pread(descriptor, 20, 0) or b"0")
            if _lives(owner) or time.monotonic() > deadline:
                os.close(descriptor)
                raise StackInUse(pid=owner, directory=directory) from None
            time.sleep(0.1)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _lives(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
