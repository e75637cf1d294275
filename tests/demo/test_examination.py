"""What came back is played to its end before it is called right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway_client.clips import clip
from millpond.workloads.transcode import Rendition
from millpond_demo.examination import RenditionWrong, compare, examine

ASKED = Rendition(name="72p", width=128, height=72, bitrate_kbps=100)


def test_size_frames_duration_and_sound_are_those_of_the_decoded_file(tmp_path: Path) -> None:
    examined = examine(clip(tmp_path / "a.mp4", rate=30, seconds=2, sound=True))
    assert (examined.width, examined.height, examined.frames, examined.has_audio) == (128, 72, 60, True)
    assert examined.duration_s == pytest.approx(2.0, abs=0.01)
    compare(examined, ASKED, frames=60, duration_s=2.0, has_audio=True)


@pytest.mark.parametrize(
    "expected",
    [
        {"frames": 61, "duration_s": 2.0, "has_audio": False},
        {"frames": 60, "duration_s": 2.5, "has_audio": False},
        {"frames": 60, "duration_s": 2.0, "has_audio": True},
    ],
)
def test_whatever_differs_is_told(tmp_path: Path, expected: dict[str, Any]) -> None:
    examined = examine(clip(tmp_path / "a.mp4", rate=30, seconds=2))
    with pytest.raises(RenditionWrong, match=r"a\.mp4"):
        compare(examined, ASKED, **expected)


def test_a_file_that_does_not_play_is_told(tmp_path: Path) -> None:
    (tmp_path / "b.mp4").write_bytes(b"no video")
    with pytest.raises(RenditionWrong, match="doesn't play"):
        examine(tmp_path / "b.mp4")
