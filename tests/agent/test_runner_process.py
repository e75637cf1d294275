"""The agent's own runner: started again when it dies, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from millpond_agent.errors import RunnerUnusable
from millpond_agent.runner_process import RunnerProcess

PROGRAM = Path(__file__).with_name("script_runner.py")
COMMAND = (sys.executable, str(PROGRAM), "h264_nvenc")
WITHIN_S = 120.0

# Starts a runner as the agent does, says its process id, and waits to be killed.
PARENT = """
import asyncio, sys
from pathlib import Path
from millpond_agent.runner_process import RunnerProcess
async def main():
    runner = RunnerProcess(slots=1, gpu=None, log=Path(sys.argv[1]) / "log", told=print)
    print((await runner.start()).pid, flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


async def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def process(directory: Path, told: list[str], gpu: str | None = None) -> RunnerProcess:
    return RunnerProcess(slots=3, gpu=gpu, log=directory / "runner.log", told=told.append, command=COMMAND)


async def test_a_runner_gets_its_slots_its_card_and_a_token_of_its_own(tmp_path: Path) -> None:
    runner = process(tmp_path, [], gpu="GPU-1")
    try:
        announced = await runner.start()
        assert (announced.slots, announced.encoder) == (3, "h264_nvenc")
        assert runner.client is not None
        assert await runner.client.is_well()
    finally:
        await runner.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(announced.pid, 0)


async def test_a_runner_that_dies_is_started_again_and_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    runner = process(tmp_path, told)
    first = await runner.start()
    keeping = asyncio.create_task(runner.keep())
    try:
        os.kill(first.pid, signal.SIGKILL)
        await until(lambda: runner.client is None)
        await until(lambda: runner.client is not None)
        assert runner.client is not None
        assert runner.client.url != first.url
        assert await runner.client.is_well()
        assert "SIGKILL" in told[0]
    finally:
        keeping.cancel()
        await runner.stop()


async def test_a_runner_that_does_not_start_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRIPT_RUNNER_FAILS", "1")
    with pytest.raises(RunnerUnusable, match="no ffmpeg"):
        await process(tmp_path, []).start()


async def test_the_real_runner_ends_with_an_agent_that_is_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-c", PARENT, str(tmp_path))
    parent = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        pid = int(await parent.stdout.readline())
        os.kill(pid, 0)
    finally:
        parent.kill()
        await parent.wait()
    await until(lambda: _is_gone(pid))


def _is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except OSError:
        return True
