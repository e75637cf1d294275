"""Real media, cut small, and what is in a file by its own account."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import imageio_ffmpeg

FFMPEG: Final = Path(imageio_ffmpeg.get_ffmpeg_exe())
BIG_BUCK_BUNNY: Final = Path(__file__).parents[2] / "services" / "millpond_demo" / "bigbuckbunny.mp4"


def ffmpeg(*arguments: object) -> None:
    command = [FFMPEG, "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def segments(directory: Path, seconds: int) -> list[bytes]:
    """Each second of the video, small, with a key frame of its own, at its own place in time."""
    ffmpeg(
        *("-t", seconds, "-i", BIG_BUCK_BUNNY, "-vf", "scale=320:180", "-c:v", "libx264", "-preset", "ultrafast"),
        *("-g", 25, "-c:a", "copy", "-f", "segment", "-segment_time", 1, "-segment_format", "mpegts"),
        *("-muxdelay", 0, "-muxpreload", 0, directory / "%d.ts"),
    )
    return [(directory / f"{number}.ts").read_bytes() for number in range(seconds)]


def made(path: Path, *options: object, source: str) -> bytes:
    """A second of it."""
    ffmpeg("-f", "lavfi", "-i", f"{source}:duration=1", *options, path)
    return path.read_bytes()


def shown_at(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds on the file's clock, of every frame that decodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [(frame.pts or 0) * (frame.time_base or Fraction(0)) for frame in container.decode(stream)]
