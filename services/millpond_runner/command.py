"""The ffmpeg command: one decode, several renditions, and nothing that a hostile input could use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from millpond.workloads.transcode import SIDE_PIXELS_MAX, Rendition

Encoder = Literal["h264_nvenc", "libx264"]

INPUT_FILE: Final = "input"
PROGRESS_S: Final = 0.5
# Containers with a video in one file. Playlists are not among them: they name other files, and could read the machine's.
DEMUXERS: Final = "mpegts,mov,matroska,flv,avi,mpeg,h264,hevc,ivf,ogg,asf"
# What a decoder may be asked to hold: a frame with the largest sides that a rendition may have.
DECODED_PIXELS_MAX: Final = SIDE_PIXELS_MAX**2
INPUT_STREAMS_MAX: Final = 64
# Key frames at least so often; a segment is seldom longer.
GOP_FRAMES: Final = 250

# What the least capable cards take for H.264; smaller and larger renditions are x264's.
NVENC_WIDTH: Final = range(160, 4097)
NVENC_HEIGHT: Final = range(64, 4097)


def transcode_command(
    ffmpeg: Path, renditions: Sequence[Rendition], *, encoder: Encoder, threads: int
) -> tuple[str, ...]:
    """To be run in the job's folder, which holds ``INPUT_FILE``; each rendition becomes ``output_file`` of its name."""
    return (
        *(str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error"),
        *("-progress", "pipe:1", "-stats_period", str(PROGRESS_S)),
        # Time stamps are the source's: segments that are joined must fit.
        *("-copyts", "-protocol_whitelist", "file", "-format_whitelist", DEMUXERS),
        *("-max_streams", str(INPUT_STREAMS_MAX), "-max_pixels", str(DECODED_PIXELS_MAX)),
        *("-threads", str(threads), "-i", f"file:{INPUT_FILE}"),
        *("-filter_complex_threads", str(threads), "-filter_complex", _filter_graph(renditions)),
        *(part for at, each in enumerate(renditions) for part in _output(at, each, encoder=encoder, threads=threads)),
    )


def trial_command(ffmpeg: Path, encoder: Encoder) -> tuple[str, ...]:
    """Encodes three black frames and keeps nothing: a listed encoder may have no device, or a driver that is too old."""
    source = ("-f", "lavfi", "-i", "color=black:size=256x256:rate=25", "-frames:v", "3")
    encoding = (*_ENCODING[encoder], *_TIMING, "-b:v", "100k", "-pix_fmt", "yuv420p")
    return (str(ffmpeg), "-nostdin", "-hide_banner", "-loglevel", "error", *source, *encoding, "-f", "null", "-")


def output_file(rendition: str) -> str:
    return f"{rendition}.ts"


# No B-frames: with them the first decoding time lies before the first picture, and segments would be shifted to fit.
_ENCODING: Final[dict[Encoder, tuple[str, ...]]] = {
    "libx264": ("-c:v", "libx264", "-preset", "veryfast", "-bf", "0"),
    "h264_nvenc": ("-c:v", "h264_nvenc", "-preset", "p4", "-rc", "vbr", "-bf", "0", "-forced-idr", "1"),
}

# Every decoded frame once, at its own time, in the source's time base: never a frame doubled or dropped.
_TIMING: Final = ("-fps_mode", "passthrough", "-enc_time_base", "demux")


def _filter_graph(renditions: Sequence[Rendition]) -> str:
    # "V" leaves out cover pictures, which are video streams too.
    split = f"[0:V:0]split={len(renditions)}" + "".join(f"[s{at}]" for at in range(len(renditions)))
    scaled = [f"[s{at}]scale={each.width}:{each.height},format=yuv420p[v{at}]" for at, each in enumerate(renditions)]
    return ";".join((split, *scaled))


def _output(at: int, rendition: Rendition, *, encoder: Encoder, threads: int) -> tuple[str, ...]:
    by_nvenc = rendition.width in NVENC_WIDTH and rendition.height in NVENC_HEIGHT
    kbps = rendition.bitrate_kbps
    return (
        *("-map", f"[v{at}]", *_ENCODING[encoder if by_nvenc else "libx264"], "-threads", str(threads)),
        *("-b:v", f"{kbps}k", "-maxrate", f"{kbps}k", "-bufsize", f"{2 * kbps}k"),
        *("-g", str(GOP_FRAMES), "-flags", "+cgop"),
        *_TIMING,
        *("-map_metadata", "-1", "-map_chapters", "-1"),
        *("-f", "mpegts", "-muxdelay", "0", "-muxpreload", "0", "-y", f"file:{output_file(rendition.name)}"),
    )
