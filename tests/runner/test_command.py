"""The ffmpeg command: who encodes what. All else is held to the real ffmpeg."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from millpond.workloads.transcode import Rendition
from millpond_runner.command import Encoder, transcode_command


def rendition(width: int, height: int) -> Rendition:
    return Rendition(name=f"r{width}", width=width, height=height, bitrate_kbps=100)


def encoders(encoder: Encoder, *renditions: Rendition) -> list[str]:
    command = transcode_command(Path("ffmpeg"), renditions, encoder=encoder, threads=1)
    return [after for before, after in pairwise(command) if before == "-c:v"]


def test_what_a_card_does_not_take_is_encoded_by_the_processor() -> None:
    renditions = (rendition(1280, 720), rendition(144, 80), rendition(4098, 2160), rendition(640, 62))
    assert encoders("h264_nvenc", *renditions) == ["h264_nvenc", "libx264", "libx264", "libx264"]
    assert encoders("libx264", *renditions) == ["libx264"] * 4


def test_the_input_is_decoded_once_however_many_renditions_there_are() -> None:
    command = transcode_command(
        Path("ffmpeg"), [rendition(64 + 2 * n, 36) for n in range(8)], encoder="libx264", threads=1
    )
    assert command.count("-i") == 1
    assert sum(word.endswith(".ts") for word in command) == 8


def test_the_input_may_be_a_video_in_one_file_and_nothing_that_names_others() -> None:
    command = transcode_command(Path("ffmpeg"), [rendition(64, 36)], encoder="libx264", threads=1)
    before_the_input = command[: command.index("-i")]
    assert before_the_input[before_the_input.index("-protocol_whitelist") + 1] == "file"
    allowed = set(before_the_input[before_the_input.index("-format_whitelist") + 1].split(","))
    assert not allowed & {"concat", "dash", "hls", "image2", "imf", "lavfi", "rtsp", "sdp", "tty", "webm_dash_manifest"}
    assert command[command.index("-i") + 1].startswith("file:")
