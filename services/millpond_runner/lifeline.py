"""A process that ends when the one that started it does."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1
# Looked up at import: between fork and exec there is no loading of libraries.
_PRCTL: Final = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def die_with(parent: int) -> None:
    """From now on the kernel kills this process when the thread of ``parent`` (a process id) that started it ends.

    Does nothing where the kernel is not Linux.
    """
    if _PRCTL is None:
        return
    _PRCTL(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we had asked
        os._exit(1)
