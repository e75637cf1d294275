"""Small clips of every kind, and what a runner does with a segment of them."""

from __future__ import annotations

import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg

# Each frame is one grey, far from that of the frames beside it, so that a frame in the wrong place is seen.
GREY = "geq=lum='20+mod(N*37,200)':cb=128:cr=128"
PICTURE = "nullsrc=size={size}:rate={rate}:duration={seconds},format=yuv420p," + GREY
SOUND = "sine=frequency=440:duration={seconds}"


def ffmpeg(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def clip(
    path: Path,
    *options: object,
    size: str = "128x72",
    rate: object = 30,
    seconds: float = 2.5,
    sound: bool = False,
    codec: str = "libx264",
) -> Path:
    """A clip with a key frame each second, unless ``options`` say otherwise."""
    inputs: list[object] = ["-f", "lavfi", "-i", PICTURE.format(size=size, rate=rate, seconds=seconds)]
    if sound:
        inputs += ["-f", "lavfi", "-i", SOUND.format(seconds=seconds)]
    keys = ("-force_key_frames", "expr:gte(t,n_forced)") if codec == "libx264" else ()
    fast = ("-preset", "ultrafast", "-bf", 2, "-b_strategy", 0, "-sc_threshold", 0) if codec == "libx264" else ()
    ffmpeg(*inputs, "-c:v", codec, *fast, *keys, *options, path)
    return path


def transcode(segment: bytes, renditions: list[dict[str, Any]], number: int) -> dict[str, bytes]:
    """As a runner does: each rendition in its own file, MPEG-TS and MP4 in turn, every frame kept."""
    made = {}
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "segment.mp4")
        source.write_bytes(segment)
        for rendition in renditions:
            path = Path(directory, f"out.{'ts' if number % 2 else 'mp4'}")
            scale = f"scale={rendition['width']}:{rendition['height']}"
            ffmpeg(
                *("-i", source, "-map", "0:v", "-vf", scale, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough"),
                *("-enc_time_base", "demux", "-c:v", "libx264", "-preset", "ultrafast", "-bf", number % 3),
                *("-b:v", f"{rendition['bitrate_kbps']}k", path),
            )
            made[rendition["name"]] = path.read_bytes()
    return made


def shown_at(path: Path) -> list[Fraction]:
    """When each frame is shown, in seconds after the first, of every frame that decodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        times = [frame.pts * frame.time_base for frame in container.decode(stream)]
    return [time - times[0] for time in times]


def audio_seconds(path: Path) -> float:
    """How much sound decodes."""
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def greys(path: Path) -> list[int]:
    """Of each frame that decodes, from its middle."""
    with av.open(str(path)) as container:
        frames = (frame.reformat(format="gray") for frame in container.decode(video=0))
        return [bytes(frame.planes[0])[frame.height // 2 * frame.planes[0].line_size] for frame in frames]
