"""One job, from its input to its outputs, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.fake_edge import FakeEdge
from agent.samples import assigned
from agent.script_runner import ScriptRunner
from agent.served import served
from millpond.events.device_claims import Output
from millpond.identity import DeviceKey
from millpond_agent.edge_client import EdgeClient, edge_client
from millpond_agent.errors import AttemptFailed
from millpond_agent.jobs import Track, transcode
from millpond_agent.runner_client import RunnerClient

KEY = DeviceKey(b"\x02" * 32)
TOKEN = "told at the start"


class Bench:
    """An edge, a runner, and a place for inputs."""

    def __init__(self, edge: FakeEdge, client: EdgeClient, runner: ScriptRunner, url: str, directory: Path) -> None:
        self.edge = edge
        self.client = client
        self.runner = runner
        self.runner_client = RunnerClient(url, TOKEN)
        self.directory = directory
        self.started = 0
        self.track: Track | None = None

    async def do(self, content: bytes, **changes: Any) -> tuple[Output, ...]:
        job = assigned(content=content, device=KEY.device, **changes)
        self.track = Track(job, began_at=datetime.now(UTC))

        def started() -> None:
            self.started += 1

        return await transcode(
            self.track, runner=self.runner_client, edge=self.client, directory=self.directory, started=started
        )

    async def fail(self, content: bytes, **changes: Any) -> str:
        with pytest.raises(AttemptFailed) as failed:
            await self.do(content, **changes)
        assert str(failed.value) == failed.value.sentence
        assert failed.value.sentence
        return failed.value.reason


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    edge, runner = FakeEdge(), ScriptRunner(token=TOKEN)
    async with served(edge.app) as edge_url, served(runner.app) as runner_url, edge_client(edge_url, KEY) as client:
        await client.pool()
        bench = Bench(edge, client, runner, runner_url, tmp_path)
        yield bench
        await bench.runner_client.aclose()
    assert not edge.faults
    assert not os.listdir(tmp_path), "an input was left"
    assert not runner.outputs, "outputs were left"


async def test_the_outputs_lie_in_the_store_in_the_order_of_the_renditions(bench: Bench) -> None:
    outputs = await bench.do(bench.edge.put(b"segment"))
    assert [output.rendition for output in outputs] == ["240p", "360p"]
    for output in outputs:
        content = bench.edge.blobs[output.blob.hash]
        assert json.loads(content)[1]["name"] == output.rendition
        assert len(content) == output.blob.size_bytes
    assert outputs[1].pixels == 640 * 360 * 10
    assert bench.started == 1
    assert bench.track is not None
    assert bench.track.frames == 10
    assert bench.track.has_moved


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("crash", "crashed"),
        ("nonsense", "crashed"),
        ("too-few", "crashed"),
        ("bad-input", "bad-input"),
        ("disk-full", "disk-full"),
    ],
)
async def test_a_runner_that_fails_ends_the_job_with_its_reason_and_the_next_one_runs(
    bench: Bench, word: str, reason: str
) -> None:
    assert await bench.fail(bench.edge.put(word.encode())) == reason
    assert len(await bench.do(bench.edge.put(b"segment"), name="next")) == 2


async def test_a_slot_that_is_about_to_be_free_is_waited_for(bench: Bench) -> None:
    assert len(await bench.do(bench.edge.put(b"no-slot"))) == 2


async def test_what_is_left_of_the_same_attempt_before_a_restart_gives_way(bench: Bench) -> None:
    assert len(await bench.do(bench.edge.put(b"job-exists"))) == 2


async def test_a_runner_that_is_gone_ends_the_job(bench: Bench) -> None:
    gone = RunnerClient("http://127.0.0.1:9", TOKEN)
    bench.runner_client, there = gone, bench.runner_client
    assert await bench.fail(bench.edge.put(b"segment")) == "crashed"
    await gone.aclose()
    bench.runner_client = there


async def test_a_wrong_token_is_not_the_job_s_fault_but_ends_it(bench: Bench) -> None:
    bench.runner.token = "another"
    assert await bench.fail(bench.edge.put(b"segment")) == "unauthorized"


async def test_an_input_that_edge_does_not_have_fails_before_it_is_said_to_have_started(bench: Bench) -> None:
    assert await bench.fail(b"nowhere") == "download-failed"
    assert bench.started == 0


@pytest.mark.parametrize("other", [b"longer than what was promised", b"other", b""])
async def test_an_input_with_other_bytes_is_never_worked_on(bench: Bench, other: bytes) -> None:
    bench.edge.blobs["0x" + hashlib.sha256(b"segment").hexdigest()] = other
    assert await bench.fail(b"segment") == "download-failed"
    assert bench.started == 0
    assert not bench.runner.started


async def test_a_store_that_is_away_for_a_moment_is_asked_again(bench: Bench) -> None:
    content = bench.edge.put(b"segment")
    bench.edge.blob_failures = 2
    assert len(await bench.do(content)) == 2


async def test_an_output_that_edge_refuses_fails_the_job_in_edge_s_words(bench: Bench) -> None:
    content = bench.edge.put(b"segment")
    bench.edge.is_full = True
    assert await bench.fail(content) == "upload-failed"


async def test_a_reason_that_no_pool_knows_does_not_silence_the_agent(bench: Bench) -> None:
    assert await bench.fail(bench.edge.put(b"odd-words")) == "runner-refused"


async def test_a_job_ends_at_its_deadline_on_edge_s_clock(bench: Bench) -> None:
    bench.edge.ahead = timedelta(hours=1)
    await bench.client.pool()
    later = bench.edge.now()
    assert await bench.fail(bench.edge.put(b"slow"), now=later, deadline_s=0.5) == "deadline-passed"
    assert bench.runner.deleted


async def test_a_cancelled_job_is_cancelled_at_the_runner_too(bench: Bench) -> None:
    doing = asyncio.create_task(bench.do(bench.edge.put(b"slow")))
    await bench.edge.until(lambda: bench.runner.started)
    doing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doing
    assert bench.runner.deleted == bench.runner.started


async def test_a_full_disk_here_is_told_as_such(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    content = bench.edge.put(b"segment")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        reason = await bench.fail(content)
    assert reason == "disk-full"
