"""A process under guard: it dies with us, and everything that it starts dies with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from millpond.localstack import guard

LOG_CHARACTERS_MAX = 4_000
LOOK_S = 0.002
# As /proc spells the states of threads.
STOPPED_OR_GONE = "TtZX"


class GuardedProcess(ABC):
    """One command with its log file. ``stop`` is orderly, ``kill`` is a crash; both return once nothing is left."""

    stop_signal = signal.SIGTERM
    # What a line says with which a failure begins, where a program talks on for long as it shuts down.
    failure_marks: tuple[str, ...] = ()
    grace_s = 10.0
    # What the command gets beside our own environment.
    environment: Mapping[str, str] = MappingProxyType({})

    def __init__(self, directory: Path, *, lock: int) -> None:
        """``lock`` is a descriptor that stays open until the last process has ended, whatever becomes of us."""
        self.directory = directory
        self.log = directory / "log"
        self._lock = lock
        self._guard: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Whatever the first start needs: downloads, formatting. Quick if already done."""

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @property
    def log_name(self) -> str:
        return str(self.log)

    @property
    def running(self) -> bool:
        return self._guard is not None and self._guard.poll() is None

    @property
    def pids(self) -> list[int]:
        """The guarded processes, parents before children, without the guard."""
        return descendants(self._guard.pid) if self._guard is not None and self.running else []

    def launch(self) -> None:
        """Starts the command and does not wait for it."""
        assert not self.running, f"{self.directory} is already running"
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous"))
        guarded = [sys.executable, "-I", "-S", guard.__file__, str(int(self.stop_signal)), str(self.grace_s)]
        with self.log.open("wb") as output:
            self._guard = subprocess.Popen(
                [*guarded, *self.command()],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.environment},
                start_new_session=True,
                pass_fds=(self._lock,),
            )

    def ended(self, status: int) -> None:  # noqa: B027 (who has nothing to hear need not listen)
        """Hears with which status the command has ended after a stop or a kill; above 128 it is that of a signal."""

    def stop(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.close()
        status = self._guard.wait(self.grace_s + 10)
        self._guard = None
        self.ended(status)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.stop()

    def freeze(self) -> None:
        """Returns once nothing of it runs any more: a signal takes its time to reach each thread of a busy machine."""
        self._signal(signal.SIGSTOP)
        give_up_s = time.monotonic() + self.grace_s
        while any(runs(pid) for pid in self.pids) and time.monotonic() < give_up_s:
            time.sleep(LOOK_S)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return telling_part(self.log.read_text(errors="replace"), self.failure_marks)
        return ""

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def telling_part(log: str, failure_marks: Sequence[str]) -> str:
    """The log from its first line with one of the marks on, or else its end."""
    marked = [found for mark in failure_marks if (found := log.find(mark)) >= 0]
    if not marked:
        return log[-LOG_CHARACTERS_MAX:]
    begin = log.rfind("\n", 0, min(marked)) + 1
    return log[begin : begin + LOG_CHARACTERS_MAX]


def complete(command: Sequence[str], *, seconds_max: float, directory: Path | None = None) -> tuple[int, str]:
    """Runs the command to its end, under guard like a server. Returns its status and all that it printed.

    After ``seconds_max`` it is stopped; the status then tells so by being that of a signal, above 128.
    """
    guarded = [sys.executable, "-I", "-S", guard.__file__, str(int(signal.SIGTERM)), "5", *command]
    with subprocess.Popen(
        guarded,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        too_long = threading.Timer(seconds_max, process.stdin.close)
        too_long.start()
        output = process.stdout.read()
        too_long.cancel()
        return process.wait(), output


def runs(pid: int) -> bool:
    """Whether a thread of it is not stopped yet; of other systems than Linux nobody knows."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] not in STOPPED_OR_GONE:
                return True
    return False


def descendants(pid: int) -> list[int]:
    """All processes below ``pid``, parents before children."""
    below: dict[int, list[int]] = {}
    for child, parent in _parents():
        below.setdefault(parent, []).append(child)
    found, generation = [], below.get(pid, [])
    while generation:
        found += generation
        generation = [child for parent in generation for child in below.get(parent, [])]
    return found


def _parents() -> list[tuple[int, int]]:
    if sys.platform != "linux":
        listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in listing.splitlines())]
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # The command's name, in parentheses, may itself hold spaces and parentheses.
            pairs.append((int(stat.parent.name), int(stat.read_text().rpartition(")")[2].split()[1])))
    return pairs
