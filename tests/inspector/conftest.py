"""Small videos, made once a run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest


def made(path: Path, *options: object, size: str = "128x72", seconds: float = 1, codec: str = "libx264") -> bytes:
    source = ("-f", "lavfi", "-i", f"testsrc=size={size}:rate=25:duration={seconds}")
    coding = ("-c:v", codec, "-pix_fmt", "yuv420p")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *source, *coding, *options, path]
    subprocess.run([*map(str, command)], check=True, capture_output=True, timeout=60)
    return path.read_bytes()


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    directory = tmp_path_factory.mktemp("videos")
    small, odd = made(directory / "a.ts"), made(directory / "b.ts", size="426x240")
    return {
        "transport stream": small,
        "odd size": odd,
        "mp4": made(directory / "c.mp4"),
        "fragmented mp4": made(directory / "d.mp4", "-movflags", "frag_keyframe+empty_moov"),
        "huge": made(directory / "f.ts", size="8192x16", seconds=0.1),
        "raw": made(directory / "g.mp4", codec="mpeg4"),
    }
