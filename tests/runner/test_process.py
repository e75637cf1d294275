"""The runner as a process: how it announces itself, why it refuses to begin, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from millpond.errors import MillpondError
from millpond_runner.errors import AddressUnusable, DirectoryUnusable, FfmpegUnusable, GpuUnknown
from millpond_runner.running import run_runner
from millpond_runner.settings import RunnerSettings
from millpond_runner.workspace import workspace
from runner.conftest import SMALL, spec
from runner.media import FFMPEG
from runner.test_jobs import HANGS, Fake, is_gone, pids, started, until

WITHIN_S = 120.0
# As slow as a person who watches: two frames a second, until the test says that it is enough.
SLOW = """
case "$*" in *lavfi*) exit 0;; esac
i=0
while [ ! -e "$0.enough" ]; do i=$((i+1)); echo frame=$i; sleep 0.1; done
exec {ffmpeg} -v error -f lavfi -i testsrc=size=64x36:rate=25:duration=1 -pix_fmt yuv420p -y small.ts
"""
TRIED = 'case "$*" in *lavfi*) exit 0;; esac\n'


@dataclass
class Process:
    process: asyncio.subprocess.Process
    announced: dict[str, Any]
    http: httpx.AsyncClient
    directory: Path

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), WITHIN_S)

    def begin(self, job: str = "job-1") -> asyncio.Task[Any]:
        async def last() -> Any:
            response = await self.http.post("/transcode", content=b"segment", headers=spec(job=job))
            assert response.status_code == 200, response.text
            return json.loads(response.text.splitlines()[-1])

        return asyncio.create_task(last())


async def begun(directory: Path, *arguments: str, **settings: object) -> asyncio.subprocess.Process:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
    chosen = {"port": 0, "directory": directory / "work", "encoder": "libx264", **settings}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "millpond_runner", *arguments),
        env={**environment, **{f"MILLPOND_RUNNER_{name.upper()}": str(value) for name, value in chosen.items()}},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def process(directory: Path, **settings: object) -> AsyncIterator[Process]:
    started = await begun(directory, **settings)
    assert started.stdout is not None
    try:
        announced = json.loads(await asyncio.wait_for(started.stdout.readline(), WITHIN_S))
        async with httpx.AsyncClient(base_url=announced["url"], timeout=WITHIN_S) as http:
            yield Process(started, announced, http, directory / "work")
    finally:
        end(started)
        await started.communicate()


def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()


async def test_it_announces_itself_does_a_job_and_says_goodbye(tmp_path: Path, bunny: list[bytes]) -> None:
    async with process(tmp_path, slots=3, encoder="auto") as runner:
        assert runner.announced.keys() == {"url", "pid", "encoder", "slots"}
        assert runner.announced["pid"] == runner.process.pid
        assert runner.announced["slots"] == 3
        capacity = (await runner.http.get("/capacity")).json()
        assert capacity == {"encoder": runner.announced["encoder"], "slots": 3, "running": 0}
        answer = await runner.http.post("/transcode", content=bunny[0], headers=spec(SMALL))
        assert json.loads(answer.text.splitlines()[-1])["type"] == "done"
        # Nobody deletes the output, and a second signal doesn't wait for it.
        runner.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert (await runner.http.get("/outputs/job-1/small")).status_code == 200
        runner.signal(signal.SIGTERM)
        assert await runner.ended() == 0
        assert not list(runner.directory.iterdir())


async def test_sigterm_finishes_what_runs_and_waits_for_its_outputs(tmp_path: Path, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(SLOW.format(ffmpeg=FFMPEG))
    async with process(tmp_path, ffmpeg=fake, slots=2) as runner:
        running = runner.begin()
        await until(lambda: list(runner.directory.rglob("input")))
        runner.signal(signal.SIGTERM)
        await until_refused(runner, "stopping")
        fake.with_name("ffmpeg.enough").touch()
        assert (await running)["type"] == "done"
        assert (await runner.http.get("/outputs/job-1/small")).status_code == 200
        assert runner.process.returncode is None
        await runner.http.delete("/outputs/job-1")
        assert await runner.ended() == 0


async def until_refused(runner: Process, reason: str) -> None:
    while True:
        response = await runner.http.post("/transcode", content=b"segment", headers=spec(job="late"))
        if response.status_code == 503:
            assert response.json()["detail"]["reason"] == reason
            return
        await runner.http.delete("/outputs/late")


async def test_what_takes_too_long_after_sigterm_is_stopped_with_a_word(tmp_path: Path, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(TRIED + HANGS)
    async with process(tmp_path, ffmpeg=fake, stop_s=0.2) as runner:
        running = runner.begin()
        processes = await started(fake)
        runner.signal(signal.SIGTERM)
        assert (await running)["reason"] == "stopped"
        assert await runner.ended() == 0
        assert all(map(is_gone, processes))
        assert not list(runner.directory.iterdir())


async def test_a_killed_runner_leaves_no_ffmpeg_and_the_next_one_clears_up(tmp_path: Path, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(TRIED + "echo $$ > $0.pids.tmp; mv $0.pids.tmp $0.pids; exec sleep 60")
    async with process(tmp_path, ffmpeg=fake) as runner:
        running = runner.begin()
        await started(fake)
        runner.signal(signal.SIGKILL)
        await runner.ended()
        await until(lambda: all(map(is_gone, pids(fake))))
        with pytest.raises(httpx.TransportError):
            await running
        assert list(runner.directory.rglob("input"))
        with workspace(runner.directory):
            assert not list(runner.directory.rglob("input"))


async def test_one_whose_parent_has_died_meanwhile_does_not_begin(tmp_path: Path) -> None:
    """The pipe that it would announce itself on is all that tells it."""
    reading, writing = os.pipe()
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "millpond_runner", "--die-with-parent"),
        env={**os.environ, "MILLPOND_RUNNER_PORT": "0", "MILLPOND_RUNNER_DIRECTORY": str(tmp_path)},
        stdout=writing,
        stderr=asyncio.subprocess.DEVNULL,
    )
    os.close(reading)
    os.close(writing)
    try:
        assert await asyncio.wait_for(started.wait(), WITHIN_S) != 0
    finally:
        end(started)
    assert not os.listdir(tmp_path)


async def test_one_that_cannot_begin_says_why_and_how_to_mend_it(tmp_path: Path) -> None:
    refusing = await begun(tmp_path, slots=0)
    try:
        said, errors = await asyncio.wait_for(refusing.communicate(), WITHIN_S)
    finally:
        end(refusing)
    assert refusing.returncode == 1
    assert not said
    assert "MILLPOND_RUNNER_SLOTS is '0'" in errors.decode()
    assert "Traceback" not in errors.decode()


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"ffmpeg": "/nowhere/ffmpeg"}, FfmpegUnusable, "No such file or directory"),
        ({"ffmpeg": "/bin/false"}, FfmpegUnusable, "/bin/false can't encode with libx264: libx264: exit status 1"),
        ({"gpu": "GPU-of-somebody-else"}, GpuUnknown, "MILLPOND_RUNNER_GPU is GPU-of-somebody-else"),
        ({"directory": "/dev/null/x"}, DirectoryUnusable, "MILLPOND_RUNNER_DIRECTORY is /dev/null/x: Not a directory"),
        ({"host": "not a host"}, AddressUnusable, "Can't listen on not a host:0"),
    ],
)
async def test_each_thing_that_it_cannot_begin_with_has_its_sentence(
    tmp_path: Path, settings: dict[str, Any], error: type[MillpondError], words: str
) -> None:
    chosen = {"port": 0, "directory": tmp_path, "encoder": "libx264", **settings}
    with pytest.raises(error) as raised:
        await run_runner(RunnerSettings.model_validate(chosen))
    assert words in str(raised.value)


async def test_a_port_that_is_taken_has_its_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = RunnerSettings(port=taken.getsockname()[1], directory=tmp_path)
        with pytest.raises(AddressUnusable, match="Address already in use"):
            await run_runner(settings)
