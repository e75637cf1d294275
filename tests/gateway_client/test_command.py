"""The command itself, as a process."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from cli.terminal import Command
from gateway_client.clips import clip, greys
from gateway_client.edge_double import API_KEY, EdgeDouble

Started = Callable[..., Command]
# Exit status, output, errors.
Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def started(tmp_path_factory: pytest.TempPathFactory) -> Started:
    def start(*arguments: object, url: str = "", key: str = API_KEY) -> Command:
        environment = {"MILLPOND_GATEWAY_EDGE_URL": url, "MILLPOND_GATEWAY_API_KEY": key}
        words = ("send", *map(str, arguments))
        return Command(tmp_path_factory.mktemp("said"), *words, environment=environment)

    return start


@pytest.fixture
def run(started: Started) -> Run:
    async def run(*arguments: object, url: str = "", key: str = API_KEY) -> tuple[int, str, str]:
        command = started(*arguments, url=url, key=key)
        return await command.ended(), command.out, command.err

    return run


async def test_a_video_is_sent_and_the_files_are_named(edge: EdgeDouble, run: Run, video: Path, tmp_path: Path) -> None:
    edge.faults.attempts[1] = 2
    code, out, err = await run(video, "--rendition", "64p", "--output", tmp_path, url=edge.url)
    assert (code, err) == (0, "")
    assert "clip.mp4: 75 frames, 2.5 s, 3 segments, to 64p (114x64)" in out
    assert "75 frames in 3 segments, 1 of them done again elsewhere; every file is checked:" in out
    assert out.rstrip().endswith(str(tmp_path / "clip-64p.mp4"))
    assert greys(tmp_path / "clip-64p.mp4") == pytest.approx(greys(video), abs=24)


async def test_a_key_file_and_a_url_on_the_command_line_come_first(
    edge: EdgeDouble, run: Run, video: Path, tmp_path: Path
) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(API_KEY + "\n")
    arguments = (video, "--rendition", "64p", "--output", tmp_path, "--edge", edge.url, "--key-file", key_file)
    code, _, err = await run(*arguments, url="http://127.0.0.1:9", key="mpk_other_" + "x" * 43)
    assert (code, err) == (0, "")


async def test_a_refused_job_ends_in_the_pools_sentence(
    edge: EdgeDouble, run: Run, video: Path, tmp_path: Path
) -> None:
    edge.faults.ends[2] = "refused"
    code, out, err = await run(video, "--rendition", "64p", "--output", tmp_path, url=edge.url)
    assert code == 1
    assert "segment 2 failed: The gateway's balance is used up." in out
    assert "The gateway's balance is used up." in err
    assert "Traceback" not in err


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_stopped_it_goes_on_with_the_id_it_showed(
    edge: EdgeDouble, started: Started, run: Run, tmp_path: Path, how: signal.Signals
) -> None:
    # Coded again first, so that an ffmpeg is running beside it.
    video = clip(tmp_path / "long.mp4", "-force_key_frames", "0", "-g", 1_000, seconds=20, rate=10)
    arguments = (video, "--rendition", "64p", "--output", tmp_path / "out", "--in-flight", 2)
    command = started(*arguments, url=edge.url)
    plan = await command.until(lambda said: "\n" in said)
    found = re.search(r"--id (\w+)", plan)
    assert found, plan
    while not edge.jobs:  # noqa: ASYNC110  (the double has no event for it)
        await asyncio.sleep(0.02)
    command.process.signal(how)
    status = await command.ended()
    if how is not signal.SIGKILL:
        assert status == 1
        assert f"Go on with: --id {found[1]}" in command.err
        assert "Traceback" not in command.err
    assert len(edge.jobs) < 20

    code, _, err_text = await run(*arguments, "--id", found[1], url=edge.url)
    assert (code, err_text) == (0, "")
    assert len(edge.jobs) == 20
    assert greys(tmp_path / "out" / "long-64p.mp4") == pytest.approx(greys(video), abs=24)


@pytest.mark.parametrize(
    ("arguments", "url", "key", "says"),
    [
        (("missing.mp4",), "http://127.0.0.1:9", API_KEY, "missing.mp4 is no video: there is no such file."),
        (("missing.mp4",), "", API_KEY, "MILLPOND_GATEWAY_EDGE_URL"),
        (("missing.mp4",), "http://127.0.0.1:9", "", "set MILLPOND_GATEWAY_API_KEY"),
        (("missing.mp4",), "http://127.0.0.1:9", "hunter2", "The API key from MILLPOND_GATEWAY_API_KEY is none"),
        (("missing.mp4", "--key-file", "nowhere"), "http://127.0.0.1:9", API_KEY, "--key-file nowhere can't be read"),
        ((__file__,), "http://127.0.0.1:9", API_KEY, "is no video"),
    ],
)
async def test_what_is_wrong_is_one_sentence_and_exit_code_1(
    run: Run, arguments: tuple[str, ...], url: str, key: str, says: str
) -> None:
    code, out, err = await run(*arguments, "--rendition", "360p", url=url, key=key)
    assert code == 1
    assert says in err
    assert "hunter2" not in out + err
    assert "Traceback" not in err
    assert len(err.splitlines()) <= 2


async def test_an_output_that_is_no_folder_is_said(edge: EdgeDouble, run: Run, video: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, _, err = await run(video, "--rendition", "64p", "--output", tmp_path / "file", url=edge.url)
    assert code == 1
    assert "another --output" in err
    assert "Traceback" not in err
