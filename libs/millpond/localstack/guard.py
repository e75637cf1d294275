"""Runs one command and outlives nobody: the command dies with whoever started this program.

Started by file name, without site packages, so that it costs some 20 ms:

    python -I -S guard.py STOP_SIGNAL GRACE_S COMMAND...

Standard input is the lifeline. It ends when the starter closes it, exits or is killed; then the command gets
STOP_SIGNAL, and after GRACE_S seconds it and all it has started are killed. Exits with the command's status.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.05
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(arguments: list[str]) -> int:
    stop_signal, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    starter = os.getppid()
    # A terminal's Ctrl-C and hang-up reach the starter, and through the lifeline us: in order, and once.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    guard = os.getpid()
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=lambda: _die_with(guard)
    )
    while child.poll() is None and _starter_lives(starter):
        pass
    if child.poll() is None:
        _stop(child, stop_signal, grace_s)
    _kill_descendants()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _starter_lives(starter: int) -> bool:
    readable, _, _ = select.select([0], [], [], POLL_S)
    if readable and not os.read(0, 1024):
        return False
    # A process that the starter forked may still hold the lifeline after the starter is gone.
    return os.getppid() == starter


def _stop(child: subprocess.Popen[bytes], stop_signal: int, grace_s: float) -> None:
    # Continue first: a frozen process can't obey.
    for pid in [child.pid, *_children(os.getpid())]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    child.send_signal(stop_signal)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _kill_descendants() -> None:
    """Kills what the command has left behind, generation by generation: as subreaper, orphans become our children."""
    deadline = time.monotonic() + 5
    while (pids := _children(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _die_with(guard: int) -> None:
    # Restored because ignored signals are inherited through exec, and the command must be stoppable.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)


def _prctl(option: int, value: int) -> None:
    """Does nothing where the kernel is not Linux: there the lifeline is all we have."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
