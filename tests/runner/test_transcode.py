"""Segments into renditions, by the real ffmpeg: what comes out, and what a broken or hostile input ends with."""

from __future__ import annotations

import asyncio
import hashlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from millpond_inspector.examine import examine
from runner.conftest import SMALL, Runner, Served, spec
from runner.media import made, shown_at

RENDITIONS = (
    {"name": "240p", "width": 426, "height": 240, "bitrate_kbps": 300},
    {"name": "180p", "width": 320, "height": 180, "bitrate_kbps": 200},
    {"name": "square", "width": 90, "height": 90, "bitrate_kbps": 50},
)


async def test_every_frame_is_in_every_rendition_at_its_own_time(
    runner: Runner, bunny: list[bytes], tmp_path: Path
) -> None:
    second = tmp_path / "source.ts"
    second.write_bytes(bunny[1])
    done = await runner.transcode(bunny[1], *RENDITIONS)
    assert done["type"] == "done"
    assert done["decoded_frames"] == 25
    assert [each["name"] for each in done["renditions"]] == ["240p", "180p", "square"]
    for asked, told in zip(RENDITIONS, done["renditions"], strict=True):
        path = await runner.output(tmp_path / "out.ts", told["name"])
        content = path.read_bytes()
        assert told["hash"] == "0x" + hashlib.sha256(content).hexdigest()
        assert told["size_bytes"] == len(content)
        assert (told["width"], told["height"], told["frames"]) == (asked["width"], asked["height"], 25)
        assert told["pixels"] == told["width"] * told["height"] * 25
        assert shown_at(path) == shown_at(second)


async def test_the_pool_s_inspector_counts_what_the_runner_counts(
    runner: Runner, bunny: list[bytes], tmp_path: Path
) -> None:
    done = await runner.transcode(bunny[0], *RENDITIONS)
    for told in done["renditions"]:
        path = await runner.output(tmp_path / "out.ts", told["name"])
        with path.open("rb") as file:  # nobody else is waiting
            seen = examine(file, decode=True, side_max=7_680)
        counted = {name: told[name] for name in ("width", "height", "frames")}
        assert {name: seen[name] for name in counted} == counted
        assert seen["decoded_frames"] == told["frames"]


async def test_what_comes_out_is_h264_that_begins_with_a_key_frame_and_has_no_sound(
    runner: Runner, bunny: list[bytes], tmp_path: Path
) -> None:
    await runner.transcode(bunny[0], RENDITIONS[0])
    with av.open(str(await runner.output(tmp_path / "out.ts", "240p"))) as container:
        (stream,) = container.streams
        assert isinstance(stream, av.VideoStream)
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.time_base) == (426, 240, Fraction(1, 90_000))
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert packets[0].is_keyframe
        # No B-frames: each is shown when it is decoded.
        assert all(packet.pts == packet.dts for packet in packets)


async def test_segments_done_apart_join_byte_for_byte(runner: Runner, bunny: list[bytes], tmp_path: Path) -> None:
    joined = b""
    for number, segment in enumerate(bunny):
        await runner.transcode(segment, RENDITIONS[1], job=f"job-{number}")
        joined += (await runner.output(tmp_path / "out.ts", "180p", f"job-{number}")).read_bytes()
    whole, source = tmp_path / "whole.ts", tmp_path / "source.ts"
    whole.write_bytes(joined)
    source.write_bytes(b"".join(bunny))
    times = shown_at(whole)
    assert times == shown_at(source)
    assert {later - earlier for earlier, later in pairwise(times)} == {Fraction(1, 25)}


@pytest.mark.parametrize(
    ("file", "options", "source", "frames"),
    [
        ("odd.webm", ("-c:v", "libvpx", "-pix_fmt", "yuv420p"), "testsrc=size=67x35:rate=30000/1001", 30),
        ("portrait.mov", ("-c:v", "mpeg4"), "testsrc=size=36x64:rate=25", 25),
        ("fast.mkv", ("-c:v", "libx264"), "testsrc=size=64x36:rate=60", 60),
        ("raw.h264", ("-c:v", "libx264"), "testsrc=size=64x36:rate=25", 25),
        ("deep.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p10le"), "testsrc=size=64x36:rate=25", 25),
    ],
)
async def test_videos_of_every_kind_keep_their_frames(
    runner: Runner, tmp_path: Path, file: str, options: tuple[str, ...], source: str, frames: int
) -> None:
    content = made(tmp_path / file, *options, source=source)
    done = await runner.transcode(content, SMALL)
    assert [each["frames"] for each in done["renditions"]] == [frames]
    assert len(shown_at(await runner.output(tmp_path / "out.ts", "small"))) == frames


async def test_a_rendition_of_another_shape_keeps_the_shape_of_the_picture(
    runner: Runner, bunny: list[bytes], tmp_path: Path
) -> None:
    await runner.transcode(bunny[0], RENDITIONS[2])
    with av.open(str(await runner.output(tmp_path / "out.ts", "square"))) as container:
        assert container.streams.video[0].display_aspect_ratio == Fraction(16, 9)


def _with_its_middle_lost(content: bytes) -> bytes:
    return content[: len(content) // 3] + content[len(content) * 2 // 3 :]


async def test_an_input_with_a_hole_gives_the_frames_that_decode(runner: Runner, bunny: list[bytes]) -> None:
    done = await runner.transcode(_with_its_middle_lost(bunny[0]), SMALL)
    assert done["type"] == "done"
    assert 0 < done["renditions"][0]["frames"] < 25


async def test_a_truncated_input_gives_the_frames_that_are_there(runner: Runner, bunny: list[bytes]) -> None:
    done = await runner.transcode(bunny[0][: len(bunny[0]) // 2], SMALL)
    assert done["type"] == "done"
    assert 0 < done["renditions"][0]["frames"] < 25


# Each would read a file of the machine, or ask another one, if ffmpeg were let.
ATTACKS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
    "hls over http": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{url}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {secret}\n",
    "concat over http": "ffconcat version 1.0\nfile {url}\n",
    "dash": (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    ),
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "text": "a file of words\n" * 100,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a_file_that_names_other_files_reaches_none_of_them(
    runner: Runner, bunny: list[bytes], tmp_path: Path, attack: str
) -> None:
    secret = tmp_path / "secret.ts"
    secret.write_bytes(bunny[0])
    asked: list[object] = []
    server = await asyncio.start_server(lambda *_: asked.append(_), "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/video.ts"
        failed = await runner.transcode(ATTACKS[attack].format(secret=secret, url=url).encode())
    assert (failed["type"], failed["reason"]) == ("failed", "bad-input")
    assert not asked


def _picture(path: Path) -> bytes:
    return made(path / "picture.png", "-frames:v", 1, source="testsrc=size=64x36:rate=1")


def _sound(path: Path) -> bytes:
    return made(path / "sound.mp4", source="sine=frequency=440")


def _head(path: Path) -> bytes:
    """An MP4 that was cut off before it says what is in it."""
    return made(path / "video.mp4", source="testsrc=size=64x36:rate=25")[:2000]


@pytest.mark.parametrize("content", [b"", b"\x00" * 10_000, bytes(range(256)) * 100, _picture, _sound, _head])
async def test_what_is_no_video_is_bad_input_and_the_next_job_runs(
    runner: Runner, bunny: list[bytes], tmp_path: Path, content: Any
) -> None:
    failed = await runner.transcode(content(tmp_path) if callable(content) else content)
    assert (failed["type"], failed["reason"]) == ("failed", "bad-input")
    assert failed["sentence"].startswith("The input holds no video that can be decoded: ")
    assert not runner.files()
    assert (await runner.transcode(bunny[0]))["type"] == "done"


async def test_a_video_that_turns_into_noise_is_no_crash_and_no_encoder_s_fault(
    runner: Runner, bunny: list[bytes]
) -> None:
    # The packets' heads stay, so that it is still found to be a video.
    noise = bytearray(bunny[0])
    for start in range(188 * 3, len(noise) - 188, 188):
        noise[start + 20 : start + 188] = hashlib.sha256(start.to_bytes(4, "big")).digest() * 5 + b"12345678"
    outcome = await runner.transcode(bytes(noise))
    assert outcome["type"] == "done" or outcome["reason"] == "bad-input"


async def test_a_rendition_that_grows_too_large_ends_the_job(
    runner: Runner, bunny: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millpond_runner.transcoding.BLOB_BYTES_MAX", 10_000)
    failed = await runner.transcode(bunny[0], RENDITIONS[0])
    assert (failed["type"], failed["reason"]) == ("failed", "too-large")
    assert "10000 bytes" in failed["sentence"]


async def test_progress_is_told_while_it_runs(served_runner: Served, tmp_path: Path) -> None:
    async with served_runner() as runner:
        content = made(tmp_path / "long.mp4", source="testsrc2=size=640x360:rate=60")
        lines = await runner.lines(content, {**SMALL, "width": 1280, "height": 720, "bitrate_kbps": 2_000})
    frames = [line["frames"] for line in lines[:-1]]
    assert frames == sorted(frames)
    assert all(0 < line["seconds"] < 60 for line in lines[:-1])
    assert lines[-1]["decoded_frames"] == 60


async def test_a_body_in_chunks_of_any_size_is_the_same_input(runner: Runner, bunny: list[bytes]) -> None:
    async def chunks() -> Any:
        for start in range(0, len(bunny[0]), 1_000):
            yield bunny[0][start : start + 1_000]

    whole = await runner.transcode(bunny[0], RENDITIONS[1])
    chunked = await runner.transcode(chunks(), RENDITIONS[1], job="job-2")
    assert chunked == whole


async def test_a_trailing_slash_makes_no_difference(runner: Runner, bunny: list[bytes]) -> None:
    response = await runner.http.post("/transcode/", content=bunny[0], headers=spec(SMALL))
    assert '"done"' in response.text
    assert (await runner.http.get("/outputs/job-1/small/")).status_code == 200
    assert (await runner.http.delete("/outputs/job-1/")).status_code == 204
