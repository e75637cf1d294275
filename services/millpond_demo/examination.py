"""Plays what came back, to its end: whether the renditions are what was asked for is seen by decoding every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from millpond.errors import MillpondError
from millpond.workloads.transcode import Rendition


class RenditionWrong(MillpondError):
    """{path} is not what was asked for: {problem}."""


@dataclass(frozen=True)
class Examined:
    """A file as it plays. ``frames`` were decoded, all of them."""

    path: Path
    width: int
    height: int
    frames: int
    duration_s: float
    has_audio: bool


def examine(path: Path) -> Examined:
    """Decodes the whole file. Raises ``RenditionWrong`` if it doesn't play."""
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            video.thread_type = "AUTO"
            frames, first_s, last_s = 0, 0.0, 0.0
            for frame in container.decode(video):
                last_s = frame.time or 0.0
                first_s = first_s if frames else last_s
                frames += 1
            frame_s = (last_s - first_s) / (frames - 1) if frames > 1 else 0.0
            sound = bool(container.streams.audio)
            return Examined(path, video.width, video.height, frames, last_s - first_s + frame_s, sound)
    except (av.FFmpegError, IndexError) as error:
        raise RenditionWrong(path=path, problem=f"it doesn't play ({error})") from error


def compare(examined: Examined, rendition: Rendition, *, frames: int, duration_s: float, has_audio: bool) -> None:
    """Raises ``RenditionWrong`` unless size, frames, duration and sound are as they should be."""
    expected = (rendition.width, rendition.height, frames, has_audio)
    found = (examined.width, examined.height, examined.frames, examined.has_audio)
    if found != expected:
        raise RenditionWrong(path=examined.path, problem=f"(width, height, frames, audio) is {found}, not {expected}")
    # Within two frames: containers round time stamps.
    if abs(examined.duration_s - duration_s) > 2 * duration_s / max(frames, 1):
        problem = f"it lasts {examined.duration_s:.2f} s, the source {duration_s:.2f} s"
        raise RenditionWrong(path=examined.path, problem=problem)
