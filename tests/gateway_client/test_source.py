"""What is no video ends in one clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway_client.clips import clip, ffmpeg
from millpond_cli.gateway.source import NotAVideo, probe


def text(path: Path) -> None:
    path.write_text("Not a video, but a text that is long enough to look like a terminal's picture.\n" * 100)


def playlist(path: Path) -> None:
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/segment.ts\n#EXT-X-ENDLIST\n")


def noise(path: Path) -> None:
    path.write_bytes(bytes(number * 7919 % 251 for number in range(50_000)))


def picture(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "testsrc2=duration=1", "-frames:v", 1, path)


def sound(path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)


def sound_with_cover(path: Path) -> None:
    cover = path.with_name("cover.png")
    picture(cover)
    ffmpeg(
        *("-f", "lavfi", "-i", "sine=duration=1", "-i", cover, "-map", 0, "-map", 1),
        *("-c:v", "copy", "-disposition:v", "attached_pic", path),
    )


def cut_short(path: Path) -> None:
    whole = clip(path.with_name("whole.mp4"))
    path.write_bytes(whole.read_bytes()[:5_000])


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("missing.mp4", lambda path: None),
        ("folder.mp4", Path.mkdir),
        ("empty.mp4", Path.touch),
        ("text.txt", text),
        ("text.mp4", text),
        ("list.m3u8", playlist),
        ("noise.mp4", noise),
        ("noise.ts", noise),
        ("still.png", picture),
        ("still.jpg", picture),
        ("sound.m4a", sound),
        ("sound.mp3", sound_with_cover),
        ("cut_short.mp4", cut_short),
    ],
)
def test_what_is_no_video_is_said_in_one_sentence(tmp_path: Path, name: str, make) -> None:
    path = tmp_path / name
    make(path)
    with pytest.raises(NotAVideo) as raised:
        probe(path)
    assert str(path) in str(raised.value)
    assert "Give a file with moving pictures" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path) -> None:
    clip(tmp_path / "plain.mp4").rename(tmp_path / "http:clip.mp4")
    assert probe(tmp_path / "http:clip.mp4").frames == 75
