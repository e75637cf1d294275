"""The guard alone: whatever happens to the starter, the command or both, nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millpond.localstack import guard
from millpond.localstack.process import complete, descendants

Guarded = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, grace_s: float = 5.0) -> subprocess.Popen[bytes]:
        words = [sys.executable, "-I", "-S", guard.__file__, str(int(signal.SIGTERM)), str(grace_s), *command]
        started.append(subprocess.Popen(words, stdin=subprocess.PIPE))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def below(process: subprocess.Popen[bytes], *, count: int) -> list[int]:
    deadline = time.monotonic() + 5
    while len(pids := descendants(process.pid)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return pids


def cut(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def gone(pids: list[int]) -> bool:
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_the_commands_status_is_the_guards(guarded: Guarded) -> None:
    assert guarded(*shell("exit 3")).wait(5) == 3
    assert guarded(*shell("kill -KILL $$")).wait(5) == 128 + signal.SIGKILL


def test_a_cut_lifeline_stops_the_command_in_an_orderly_way(guarded: Guarded, tmp_path: Path) -> None:
    process = guarded(*shell(f"trap 'echo bye > {tmp_path}/last; exit 0' TERM; sleep 60 & wait"))
    pids = below(process, count=2)
    cut(process)
    assert process.wait(5) == 0
    assert (tmp_path / "last").read_text() == "bye\n"
    assert gone(pids)


def test_a_command_that_will_not_stop_is_killed_after_the_grace(guarded: Guarded) -> None:
    process = guarded(
        sys.executable, "-c", "import signal; signal.signal(15, signal.SIG_IGN); signal.pause()", grace_s=0.5
    )
    pids = below(process, count=1)
    time.sleep(0.3)  # until it ignores the signal
    begun = time.monotonic()
    cut(process)
    process.wait(5)
    assert time.monotonic() - begun > 0.4
    assert gone(pids)


def test_a_frozen_command_is_stopped_too(guarded: Guarded) -> None:
    process = guarded("sleep", "60", grace_s=30)
    pids = below(process, count=1)
    os.kill(pids[0], signal.SIGSTOP)
    cut(process)
    process.wait(5)
    assert gone(pids)


def test_what_has_left_the_commands_session_goes_with_it(guarded: Guarded) -> None:
    process = guarded(*shell("setsid sleep 60 & setsid setsid sleep 61 & sleep 0.5"))
    pids = below(process, count=3)
    assert process.wait(5) == 0
    assert gone(pids)


def test_a_signal_meant_for_the_starter_is_not_the_guards_business(guarded: Guarded) -> None:
    process = guarded("sleep", "60")
    below(process, count=1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None


def test_a_lifeline_kept_open_by_somebody_else_does_not_keep_the_command_alive(tmp_path: Path) -> None:
    starter = f"""
import os, subprocess, sys, time
guard = subprocess.Popen([sys.executable, "-I", "-S", {guard.__file__!r}, "15", "5", "sleep", "60"], stdin=subprocess.PIPE)
if os.fork() == 0:
    time.sleep(6)
    os._exit(0)
print(guard.pid, flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE)
    assert process.stdout is not None
    guard_pid = int(process.stdout.readline())
    time.sleep(0.5)
    pids = [guard_pid, *descendants(guard_pid)]
    assert len(pids) == 2
    process.kill()
    process.wait()
    assert gone(pids)


def test_what_is_run_to_its_end_is_stopped_when_it_takes_too_long() -> None:
    assert complete(shell("echo out; echo err >&2; exit 4"), seconds_max=5) == (4, "out\nerr\n")
    begun = time.monotonic()
    status, _ = complete(["sleep", "60"], seconds_max=0.3)
    assert status == 128 + signal.SIGTERM
    assert time.monotonic() - begun < 5
