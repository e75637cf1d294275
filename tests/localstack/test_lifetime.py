"""Nothing that the stack starts outlives whoever started it, and what dies comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millpond.localstack import ports
from millpond.localstack.process import descendants

pytestmark = pytest.mark.long

READY_SECONDS_MAX = 60
GONE_SECONDS_MAX = 25


class Command:
    """``millpond stack`` as a user starts it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process = subprocess.Popen(
            [sys.executable, "-m", "millpond_cli", "stack", "--directory", str(directory)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def ready(self) -> Command:
        eventually((self.directory / "env").exists, READY_SECONDS_MAX)
        return self

    @property
    def pids(self) -> list[int]:
        return descendants(self.process.pid)

    @property
    def ports(self) -> dict[str, int]:
        found: dict[str, int] = json.loads((self.directory / "ports.json").read_text())
        return found

    @property
    def server_pids(self) -> dict[str, int]:
        """Each component's first process, recognized by its command line."""
        found = {}
        for pid in self.pids:
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            except FileNotFoundError:
                continue  # gone since it was listed
            for name, program in (("kafka", "java"), ("postgres", "postgres"), ("anvil", "anvil")):
                if Path(words[0]).name == program and name not in found:
                    found[name] = pid
        return found


def eventually(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)


def all_gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.fixture
def command(run_directory: Path, request: pytest.FixtureRequest) -> Iterator[Command]:
    command = Command(run_directory / request.node.name)
    yield command.ready()
    command.process.terminate()
    command.process.wait(GONE_SECONDS_MAX)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name)
def test_no_process_and_no_port_outlives_the_command(command: Command, number: signal.Signals) -> None:
    pids = command.pids
    assert set(command.server_pids) == {"kafka", "postgres", "anvil"}
    command.process.send_signal(number)
    command.process.wait(GONE_SECONDS_MAX)
    eventually(lambda: all_gone(pids), GONE_SECONDS_MAX)
    assert all(ports.is_free(port) for port in command.ports.values())
    if number != signal.SIGKILL:
        assert not (command.directory / "env").exists()


def test_what_dies_is_started_again_on_its_port(command: Command) -> None:
    before, addresses = command.server_pids, command.ports
    for pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = command.server_pids
        return set(now) == set(before) and not set(now.values()) & set(before.values())

    eventually(back, READY_SECONDS_MAX)
    assert command.ports == addresses
    eventually(lambda: not any(ports.is_free(port) for port in addresses.values()), READY_SECONDS_MAX)


def test_a_killed_guard_takes_its_server_with_it(command: Command) -> None:
    servers = command.server_pids
    for pid in servers.values():
        guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(guard, signal.SIGKILL)
    eventually(lambda: all_gone(list(servers.values())), 5)
