"""The agent and its own runner, both real: they agree on every word between them."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from agent.conftest import Machine
from agent.fake_edge import FakeEdge
from agent.samples import RENDITIONS, assigned
from agent.script_runner import ScriptRunner
from agent.served import served
from millpond.events.scheduler_assignments import JobAssigned
from millpond_agent.errors import RunnerRefused
from millpond_agent.runner_client import Failed, Progress, RunnerClient
from millpond_agent.runner_process import RunnerProcess
from runner.media import shown_at
from runner.test_jobs import HANGS, Fake, is_gone, started, until
from runner.test_process import TRIED


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Machine]:
    """A machine whose agent starts its own runner."""
    edge = FakeEdge()
    async with served(edge.app) as url:
        machine = Machine(tmp_path / "agent", edge, ScriptRunner(), url, None)
        try:
            yield machine
        finally:
            await machine.close()
    assert not edge.faults, machine.said


async def heard(machine: Machine, *types: str, count: int = 1) -> list[Any]:
    """Their claims, once there are so many: a runner starts in seconds, when others work on this machine too."""
    await until(lambda: len(machine.edge.of_type(*types)) >= count, within_s=60)
    return [each.claim for each in machine.edge.of_type(*types)]


def job(machine: Machine, name: str, content: bytes) -> JobAssigned:
    return assigned(name, content=machine.edge.put(content), device=machine.key.device, now=machine.edge.now())


def runner_pids(machine: Machine) -> list[int]:
    """Of the runners that live: whose work lies where this test's agent has it."""
    directory = f"TMPDIR={machine.directory}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if b"millpond_runner" in words and directory in (path / "environ").read_bytes().split(b"\0"):
                found.append(int(path.name))
        except OSError:
            continue
    return [pid for pid in found if not is_gone(pid)]


async def test_a_segment_becomes_renditions_in_the_pool_s_store_whatever_befalls_the_runner(
    own: Machine, bunny: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(own.directory))
    await own.start(slots="1")
    await heard(own, "Heartbeat")
    await own.edge.assign(job(own, "good", bunny[0]))
    (done,) = await heard(own, "JobSucceeded")
    for asked, output in zip(RENDITIONS, done.outputs, strict=True):
        path = tmp_path / "out.ts"
        path.write_bytes(own.edge.blobs[output.blob.hash])
        assert len(shown_at(path)) == output.frames == 25
        assert output.pixels == asked.width * asked.height * 25

    await own.edge.assign(job(own, "bad", b"no video"))
    (failed,) = await heard(own, "JobFailed")
    assert failed.reason == "bad-input"

    (pid,) = runner_pids(own)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: own.edge.of_type("Heartbeat")[-1].claim.loads == (), within_s=60)
    await until(lambda: own.edge.of_type("Heartbeat")[-1].claim.loads, within_s=60)
    await own.edge.assign(job(own, "again", bunny[1]))
    await heard(own, "JobSucceeded", count=2)

    own.signal(signal.SIGTERM)
    assert await own.ended() == 0
    assert not runner_pids(own)
    assert not os.listdir(own.directory / "work")
    assert not list(own.directory.glob("millpond-runner-*/*"))
    assert "The runner ended (SIGKILL); it is started again." in own.said


async def test_the_agent_s_client_understands_all_that_its_runner_says(
    tmp_path: Path, fake_ffmpeg: Fake, bunny: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    fake = fake_ffmpeg(TRIED + HANGS)
    monkeypatch.setenv("MILLPOND_RUNNER_FFMPEG", str(fake))
    segment = tmp_path / "segment"
    segment.write_bytes(bunny[0])
    runner = RunnerProcess(slots=1, gpu=None, log=tmp_path / "log", told=print)
    announced = await runner.start()
    client = runner.client
    assert client is not None
    try:
        assert await client.is_well()
        capacity = await client.capacity()
        assert capacity is not None
        assert (capacity.encoder, capacity.slots) == (announced.encoder, announced.slots) == ("libx264", 1)
        await client.cards("info")
        stranger = RunnerClient(announced.url, "another token")
        with pytest.raises(RunnerRefused) as refused:
            await stranger.delete("job")
        assert refused.value.facts["reason"] == "unauthorized"
        await stranger.aclose()

        # Given up in the middle: the slot is free, and no process is left.
        async with aclosing(client.transcode("job", RENDITIONS, segment)) as lines:
            async for line in lines:
                assert isinstance(line, Progress)
                if line.frames:
                    break
            processes = await started(fake)
            with pytest.raises(RunnerRefused) as refused:
                await anext(client.transcode("other", RENDITIONS, segment))
            assert refused.value.facts["reason"] == "no-slot"
        await client.delete("job")
        assert all(map(is_gone, processes))

        fake_ffmpeg(TRIED + "exit 0")
        (line,) = [line async for line in client.transcode("job", RENDITIONS, segment)]
        assert isinstance(line, Failed)
        assert line.reason == "bad-input"
        await until(lambda: not list(tmp_path.rglob("input")))
    finally:
        await runner.stop()
    assert is_gone(announced.pid)
