"""The agent as a process: what is killed in these tests is the real one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent.fake_edge import FakeEdge
from agent.script_runner import ScriptRunner
from agent.served import served
from millpond.identity import DeviceKey, load_or_make_device_key
from stream.nursery import Child
from stream.workers import nursery

ENDS_WITHIN_S = 15.0


class Machine:
    """A contributor's machine: a directory, and the agent that works with it against a fake edge."""

    def __init__(
        self, directory: Path, edge: FakeEdge, runner: ScriptRunner, edge_url: str, runner_url: str | None
    ) -> None:
        """``runner_url`` None: the agent starts a real runner of its own."""
        self.directory = directory
        self.edge = edge
        self.edge_url = edge_url
        self.runner = runner
        self.key: DeviceKey = load_or_make_device_key(directory / "device.key")
        self._log = directory.with_suffix(".log")
        self._runner_url = runner_url
        self._process: Child | None = None

    @property
    def said(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    async def start(self, **environment: str) -> None:
        """Returns at once; ``environment``: settings without their prefix."""
        settings = {"directory": str(self.directory), "heartbeat_s": "0.2", "progress_s": "0.1", **environment}
        arguments = ["run", "--plain", "--edge", self.edge_url]
        arguments += ["--runner", self._runner_url] if self._runner_url else []
        self._process = nursery().start(
            "millpond_agent",
            {**os.environ, **{f"MILLPOND_AGENT_{name.upper()}": value for name, value in settings.items()}},
            self._log,
            arguments,
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.signal(number)

    async def ended(self) -> int:
        """Its exit status."""
        assert self._process is not None
        return await asyncio.to_thread(self._process.wait, ENDS_WITHIN_S)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()

    async def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            await self.kill()


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    edge, runner = FakeEdge(), ScriptRunner(slots=2)
    async with AsyncExitStack() as stack:
        edge_url = await stack.enter_async_context(served(edge.app))
        runner_url = await stack.enter_async_context(served(runner.app))
        machine = Machine(tmp_path / "agent", edge, runner, edge_url, runner_url)
        try:
            yield machine
        finally:
            await machine.close()
    assert not edge.faults, machine.said
