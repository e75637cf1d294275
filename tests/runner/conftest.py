"""A runner of this test's own, served for real; and an ffmpeg that does what a test tells it."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from agent.served import served
from millpond_runner.app import create_app
from millpond_runner.encoder import Ffmpeg
from millpond_runner.ffmpeg import environment
from millpond_runner.jobs import Jobs, Limits
from millpond_runner.transcoding import Transcoding
from millpond_runner.workshop import Workshop
from millpond_runner.workspace import workspace
from runner.media import FFMPEG, segments

SMALL = {"name": "small", "width": 64, "height": 36, "bitrate_kbps": 50}


@dataclass
class Runner:
    """``transcode`` returns the last line of the answer."""

    url: str
    http: httpx.AsyncClient
    shop: Workshop
    folder: Path

    async def transcode(self, content: Any, *renditions: dict[str, Any], job: str = "job-1") -> dict[str, Any]:
        lines = await self.lines(content, *renditions, job=job)
        assert all(line["type"] == "progress" for line in lines[:-1])
        last: dict[str, Any] = lines[-1]
        return last

    async def lines(self, content: Any, *renditions: dict[str, Any], job: str = "job-1") -> list[Any]:
        response = await self.post(content, *renditions, job=job)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/x-ndjson"
        return [json.loads(line) for line in response.text.splitlines()]

    async def post(self, content: Any, *renditions: dict[str, Any], job: str = "job-1") -> httpx.Response:
        return await self.http.post("/transcode", content=content, headers=spec(*renditions, job=job))

    async def output(self, path: Path, rendition: str, job: str = "job-1") -> Path:
        response = await self.http.get(f"/outputs/{job}/{rendition}")
        assert response.status_code == 200, response.text
        await asyncio.to_thread(path.write_bytes, response.content)
        return path

    def files(self) -> list[str]:
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


def spec(*renditions: dict[str, Any], job: str = "job-1") -> dict[str, str]:
    return {"Millpond-Spec": json.dumps({"job": job, "renditions": renditions or (SMALL,)})}


Served = Callable[..., AbstractAsyncContextManager[Runner]]


@pytest.fixture
def served_runner(tmp_path: Path) -> Served:
    """``served_runner(ffmpeg=…, slots=…, hang_s=…)``."""

    @asynccontextmanager
    async def serve(
        ffmpeg: Path = FFMPEG,
        *,
        slots: int = 2,
        hang_s: float = 20,
        job_s: float = 60,
        keep_s: float = 60,
        token: str | None = None,
        gpu: str | None = None,
    ) -> AsyncIterator[Runner]:
        with workspace(tmp_path / "runner") as space:
            found = Ffmpeg(ffmpeg, environment(gpu), "libx264")
            limits = Limits(slots=slots, hang_s=hang_s, job_s=job_s, keep_s=keep_s)
            jobs = Jobs(limits, transcoding=Transcoding(found, threads=1, hang_s=hang_s), workspace=space)
            shop = Workshop(slots=slots, gpu=gpu, token=token, ffmpeg=found, workspace=space, jobs=jobs)
            async with served(create_app(shop)) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
                yield Runner(url, http, shop, space.folder)
                await jobs.stop()
                assert not list(space.folder.iterdir()), "a job's folder was left"

    return serve


@pytest.fixture
async def runner(served_runner: Served) -> AsyncIterator[Runner]:
    async with served_runner() as runner:
        yield runner


@pytest.fixture
def fake_ffmpeg(tmp_path: Path) -> Callable[[str], Path]:
    """A program in ffmpeg's place: a shell script, which runs in the job's folder."""

    def write(script: str) -> Path:
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture(scope="session")
def bunny(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Three seconds of Big Buck Bunny in segments of one: 25 frames each."""
    return segments(tmp_path_factory.mktemp("bunny"), 3)
