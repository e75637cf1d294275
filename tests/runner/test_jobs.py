"""What holds a slot, how a job ends, and what is left of it: with an ffmpeg that fails in every way."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from runner.conftest import SMALL, Runner, Served, spec

WITHIN_S = 120.0
Fake = Callable[[str], Path]

# Says who it is, starts another process, and goes on for ever.
HANGS = """
sleep 60 &
echo "$$ $!" > "$0.pids.tmp"; mv "$0.pids.tmp" "$0.pids"
printf 'frame=5\\nprogress=continue\\n'
wait
"""


async def until(condition: Callable[[], Any], within_s: float = WITHIN_S) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def pids(fake: Path) -> list[int]:
    return [int(pid) for pid in fake.with_name("ffmpeg.pids").read_text().split()]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def started(fake: Path) -> list[int]:
    """The processes of the job, once they are there."""
    await until(fake.with_name("ffmpeg.pids").exists)
    return pids(fake)


@pytest.mark.parametrize(
    ("script", "reason", "words"),
    [
        ("kill -SEGV $$", "crashed", "signal 11"),
        ("kill -KILL $$", "crashed", "want of memory"),
        ("echo '[x @ 0x55fd] strange' >&2; exit 3", "crashed", "exit status 3, strange"),
        ("exit 3", "crashed", "it said nothing"),
        ("printf 'frame=3\\n'; : > small.ts", "crashed", "small.ts can't be read"),
        ("printf 'frame=3\\n'", "crashed", "small.ts can't be read"),
        ("exit 0", "bad-input", "not one frame"),
        ("echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 228", "disk-full", "no space left"),
        (
            "echo '[h264_nvenc @ 0x5] OpenEncodeSessionEx failed: out of memory (10): (no details)' >&2;"
            " echo 'Could not open encoder before EOF' >&2; exit 255",
            "encoder-failed",
            "out of memory",
        ),
        # More than is kept, with what matters at the end.
        (
            "yes 'error while decoding MB' | head -c 2000000 >&2; echo 'Disk quota exceeded' >&2; exit 1",
            "disk-full",
            "",
        ),
    ],
)
async def test_an_ffmpeg_that_fails_ends_the_job_with_a_reason_and_the_next_one_runs(
    served_runner: Served, fake_ffmpeg: Fake, script: str, reason: str, words: str
) -> None:
    async with served_runner(fake_ffmpeg(script), slots=1) as runner:
        failed = await runner.transcode(b"segment")
        assert (failed["type"], failed["reason"]) == ("failed", reason)
        assert words in failed["sentence"]
        assert not runner.files()
        assert (await runner.http.get("/outputs/job-1/small")).status_code == 404
        # Nothing is left of it: neither its slot nor its id is taken.
        assert (await runner.transcode(b"segment"))["reason"] == reason


async def test_an_ffmpeg_that_is_gone_is_told_by_health_and_by_the_job(
    served_runner: Served, fake_ffmpeg: Fake
) -> None:
    fake = fake_ffmpeg("exit 0")
    async with served_runner(fake) as runner:
        assert (await runner.http.get("/health")).json() == {"status": "OK"}
        fake.unlink()
        assert (await runner.http.get("/health")).json() == {"status": "ERROR"}
        failed = await runner.transcode(b"segment")
        assert failed["reason"] == "crashed"
        assert "can't be started (No such file or directory)" in failed["sentence"]


async def test_an_ffmpeg_that_hangs_is_killed_with_all_that_it_started(
    served_runner: Served, fake_ffmpeg: Fake
) -> None:
    fake = fake_ffmpeg(HANGS)
    async with served_runner(fake, hang_s=0.3) as runner:
        failed = await runner.transcode(b"segment")
        assert failed["reason"] == "hung"
        assert all(map(is_gone, pids(fake)))


async def test_frames_renew_the_patience_but_not_the_time_of_the_job(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg("i=1; while :; do echo frame=$i; i=$((i+1)); sleep 0.1; done")
    async with served_runner(fake, hang_s=0.5, job_s=1.5) as runner:
        assert (await runner.transcode(b"segment"))["reason"] == "timed-out"


async def test_words_without_frames_renew_no_patience(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg("while :; do echo frame=7; echo out_time_us=1; sleep 0.1; done")
    async with served_runner(fake, hang_s=0.5) as runner:
        assert (await runner.transcode(b"segment"))["reason"] == "hung"


async def test_a_deleted_job_ends_and_its_slot_is_free_at_once(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(HANGS)
    async with served_runner(fake, slots=1) as runner:
        running = asyncio.create_task(runner.transcode(b"segment"))
        processes = await started(fake)
        assert (await runner.http.get("/capacity")).json()["running"] == 1
        assert (await runner.http.delete("/outputs/job-1")).status_code == 204
        assert (await runner.http.get("/capacity")).json()["running"] == 0
        assert all(map(is_gone, processes))
        assert (await running)["reason"] == "cancelled"


async def test_a_file_that_is_still_being_written_is_no_output(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg("echo half > small.ts" + HANGS)
    async with served_runner(fake) as runner:
        running = asyncio.create_task(runner.transcode(b"segment"))
        await started(fake)
        assert (await runner.http.get("/outputs/job-1/small")).status_code == 404
        await runner.http.delete("/outputs/job-1")
        await running


async def test_a_caller_who_hangs_up_ends_his_job(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(HANGS)
    async with served_runner(fake) as runner:
        async with runner.http.stream("POST", "/transcode", content=b"segment", headers=spec()) as response:
            assert response.status_code == 200
            processes = await started(fake)
        await until(lambda: not runner.shop.jobs.running)
        assert all(map(is_gone, processes))
        assert not runner.files()


async def sent(
    runner: Runner, part: bytes, *, length: int = 1_000
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A caller who has sent a part of his input, by hand: httpx doesn't listen before it has sent all."""
    url = httpx.URL(runner.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    header = "".join(f"{name}: {value}\r\n" for name, value in spec().items())
    writer.write(f"POST /transcode HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{header}\r\n".encode() + part)
    return reader, writer


async def answered(reader: asyncio.StreamReader) -> bytes:
    """All that comes until the runner closes the connection."""
    return await asyncio.wait_for(reader.read(), WITHIN_S)


async def test_a_caller_who_reads_nothing_and_leaves_ends_his_job(served_runner: Served, fake_ffmpeg: Fake) -> None:
    fake = fake_ffmpeg(HANGS)
    async with served_runner(fake) as runner:
        _, writer = await sent(runner, b"ab", length=2)
        processes = await started(fake)
        writer.transport.abort()
        await until(lambda: not runner.shop.jobs.running)
        assert all(map(is_gone, processes))


async def test_a_caller_who_hangs_up_in_the_middle_of_the_input_leaves_nothing(
    served_runner: Served, fake_ffmpeg: Fake
) -> None:
    async with served_runner(fake_ffmpeg("exit 0"), slots=1) as runner:
        _, writer = await sent(runner, b"ab")
        await until(lambda: runner.shop.jobs.running)
        writer.transport.abort()
        await until(lambda: not runner.shop.jobs.running)
        assert not runner.files()


async def test_an_input_that_stalls_is_given_up(served_runner: Served, fake_ffmpeg: Fake) -> None:
    async with served_runner(fake_ffmpeg("exit 0"), hang_s=0.3) as runner:
        reader, writer = await sent(runner, b"ab")
        answer = await answered(reader)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"upload-stalled" in answer
        writer.close()
        assert not runner.files()


async def test_an_input_that_comes_in_drops_takes_no_slot_for_ever(served_runner: Served, fake_ffmpeg: Fake) -> None:
    async def drops() -> AsyncIterator[bytes]:
        while True:
            yield b"drop"
            await asyncio.sleep(0.05)

    async with served_runner(fake_ffmpeg("exit 0"), job_s=0.5) as runner:
        # Who goes on sending may miss the answer.
        with suppress(httpx.TransportError):
            assert (await runner.post(drops())).status_code == 408
        assert not runner.shop.jobs.running
        assert not runner.files()


async def test_a_job_deleted_in_the_middle_of_its_input_is_cancelled(served_runner: Served, fake_ffmpeg: Fake) -> None:
    async with served_runner(fake_ffmpeg("exit 0")) as runner:
        reader, writer = await sent(runner, b"ab")
        await until(lambda: runner.shop.jobs.running)
        await runner.http.delete("/outputs/job-1")
        assert b'"cancelled"' in await answered(reader)
        writer.close()


async def test_a_job_more_than_there_are_slots_is_refused_until_one_is_free(
    served_runner: Served, fake_ffmpeg: Fake
) -> None:
    async with served_runner(fake_ffmpeg(HANGS), slots=2) as runner:
        running = [asyncio.create_task(runner.transcode(b"segment", job=f"job-{number}")) for number in (1, 2)]
        await until(lambda: runner.shop.jobs.running == 2)
        refused = await runner.post(b"segment", job="job-3")
        assert (refused.status_code, refused.json()["detail"]["reason"]) == (503, "no-slot")
        assert refused.headers["retry-after"] == "1"
        await runner.http.delete("/outputs/job-1")
        running.append(asyncio.create_task(runner.transcode(b"segment", job="job-3")))
        await until(lambda: runner.shop.jobs.running == 2)
        await runner.http.delete("/outputs/job-2")
        await runner.http.delete("/outputs/job-3")
        assert {(await each)["reason"] for each in running} == {"cancelled"}


async def test_an_id_is_taken_until_its_outputs_are_deleted(runner: Runner, bunny: list[bytes]) -> None:
    await runner.transcode(bunny[0])
    refused = await runner.post(bunny[0])
    assert (refused.status_code, refused.json()["detail"]["reason"]) == (409, "job-exists")
    # Compared exactly, whatever the disk thinks of upper case.
    assert (await runner.transcode(bunny[0], job="JOB-1"))["type"] == "done"
    await runner.http.delete("/outputs/job-1")
    assert (await runner.http.get("/outputs/JOB-1/small")).status_code == 200
    assert (await runner.transcode(bunny[0]))["type"] == "done"


async def test_outputs_that_nobody_deletes_are_deleted_in_the_end(served_runner: Served, bunny: list[bytes]) -> None:
    async with served_runner(keep_s=0.3) as runner:
        assert (await runner.transcode(bunny[0]))["type"] == "done"
        await until(lambda: not runner.files())
        assert (await runner.http.get("/outputs/job-1/small")).status_code == 404


async def test_only_the_outputs_are_kept_of_a_job_that_is_done(runner: Runner, bunny: list[bytes]) -> None:
    await runner.transcode(bunny[0], SMALL, {**SMALL, "name": "second"})
    assert runner.files() == ["second.ts", "small.ts"]


async def test_an_ffmpeg_sees_no_secret_and_only_its_card(
    served_runner: Served, fake_ffmpeg: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTH_TOKEN", "a-secret")
    monkeypatch.setenv("MILLPOND_RUNNER_AUTH_TOKEN", "a-secret")
    async with served_runner(fake_ffmpeg('env > "$0.env"; ulimit -c >> "$0.env"'), gpu="GPU-7") as runner:
        await runner.transcode(b"segment")
    seen = (tmp_path / "ffmpeg.env").read_text()
    assert "a-secret" not in seen
    assert "CUDA_VISIBLE_DEVICES=GPU-7" in seen
    assert seen.endswith("\n0\n"), "a core dump would hold the input"


async def test_a_full_disk_refuses_the_input(
    served_runner: Served, fake_ffmpeg: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served_runner(fake_ffmpeg("exit 0")) as runner:
        # The real thing: this file takes no byte.
        monkeypatch.setattr("millpond_runner.jobs.INPUT_FILE", "/dev/full")
        refused = await runner.post(b"segment" * 10_000)
        assert (refused.status_code, refused.json()["detail"]["reason"]) == (507, "disk-full")


async def test_an_input_over_the_limit_is_refused_whether_or_not_its_length_was_told(
    served_runner: Served, fake_ffmpeg: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millpond_runner.jobs.BLOB_BYTES_MAX", 1_000)

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    async with served_runner(fake_ffmpeg("exit 0")) as runner:
        for content in (b"x" * 1_001, chunks()):
            refused = await runner.post(content)
            assert (refused.status_code, refused.json()["detail"]["reason"]) == (413, "too-large")
            assert not runner.files()


async def test_a_stopping_runner_finishes_what_runs_and_begins_nothing(
    served_runner: Served, fake_ffmpeg: Fake
) -> None:
    fake = fake_ffmpeg(HANGS)
    async with served_runner(fake, slots=2) as runner:
        running = asyncio.create_task(runner.transcode(b"segment"))
        processes = await started(fake)
        finishing = asyncio.create_task(runner.shop.jobs.finish(60))
        await asyncio.sleep(0)
        refused = await runner.post(b"segment", job="job-2")
        assert (refused.status_code, refused.json()["detail"]["reason"]) == (503, "stopping")
        os.killpg(processes[0], signal.SIGTERM)
        assert "signal 15" in (await running)["sentence"]
        await asyncio.wait_for(finishing, WITHIN_S)


async def test_a_runner_that_stops_says_so_to_whoever_waits(served_runner: Served, fake_ffmpeg: Fake) -> None:
    async with served_runner(fake_ffmpeg(HANGS)) as runner:
        running = asyncio.create_task(runner.transcode(b"segment"))
        await until(lambda: runner.shop.jobs.running)
        await runner.shop.jobs.finish(0.1)
        await runner.shop.jobs.stop()
        assert (await running)["reason"] == "stopped"
