"""Programs under test start from a process that has imported them already: importing takes a core two seconds, each time.

``python -m stream.nursery`` reads orders, a line of JSON each, and answers each with a line. A program is a process of its
own from its first statement on: forked before anything of it has run, with its own environment and log.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import json
import os
import random
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
LOOK_S = 0.005
TESTS = Path(__file__).parents[1]
# What a service's ``__main__`` imports; all others have the library in common.
WIRINGS = ("app", "running")


class Child:
    """A program that runs, or has ended; as ``subprocess.Popen`` tells of one."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._nursery.ask({"ended": self.pid})
        return self.returncode

    def wait(self, timeout_s: float | None = None) -> int:
        """Raises ``subprocess.TimeoutExpired``."""
        deadline_s = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        while (status := self.poll()) is None:
            if time.monotonic() > deadline_s:
                raise subprocess.TimeoutExpired(str(self.pid), timeout_s or 0)
            time.sleep(LOOK_S)
        return status

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        # Until it was asked for its end its number is not given to another.
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """The process that starts the others. It ends with us, and they with it."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "stream.nursery"],
            env={**os.environ, "PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def start(
        self,
        program: str,
        environment: Mapping[str, str],
        log: Path,
        arguments: Sequence[str] = (),
        errors: Path | None = None,
    ) -> Child:
        """``python -m program arguments``, with all that it says in ``log``, or what is an error in ``errors``."""
        outputs = [str(log), str(errors or log)]
        return Child(
            self, self.ask({"start": [program, *arguments], "environment": dict(environment), "outputs": outputs})
        )

    def ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


def serve() -> None:
    """Until nobody gives orders any more."""
    _die_with_parent()
    ended: dict[int, int] = {}
    while line := sys.stdin.buffer.readline():
        order = json.loads(line)
        answer = _start(order) if "start" in order else _ended(order["ended"], ended)
        os.write(1, json.dumps(answer).encode() + b"\n")


def _ended(pid: int, known: dict[int, int]) -> int | None:
    if pid not in known:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            known[pid] = os.waitstatus_to_exitcode(status)
    return known.get(pid)


def _start(order: Mapping[str, Any]) -> int:
    _warm(*order["start"])
    pid = os.fork()
    if pid == 0:
        _become(order["start"], order["environment"], *order["outputs"])
    return pid


def _warm(program: str, *arguments: str) -> None:
    importlib.import_module("millpond.stream.main")
    if program == "millpond_cli":
        # Its commands are imported when they are called.
        commands = importlib.import_module("millpond_cli.app").COMMANDS
        importlib.import_module(commands[arguments[0]].home.partition(":")[0])
        return
    if program.startswith("millpond_"):
        for wiring in WIRINGS:
            if importlib.util.find_spec(f"{program}.{wiring}") is not None:
                importlib.import_module(f"{program}.{wiring}")
                return


def _become(words: Sequence[str], environment: Mapping[str, str], log: str, errors: str) -> None:
    _die_with_parent()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(_written_anew(log), 1)
    os.dup2(1 if errors == log else _written_anew(errors), 2)
    # Who was started in the background of a shell ignores it, and so would whatever he starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    sys.argv = list(words)
    # Each draws its own waits.
    random.seed()
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    sys.exit(0)


def _written_anew(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    gc.freeze()
    serve()
