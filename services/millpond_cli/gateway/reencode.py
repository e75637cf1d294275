"""Runs ffmpeg over a source: for pictures that can't be cut as they are, and for sound that MP4 can't hold."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import av
import imageio_ffmpeg  # type: ignore[import-untyped]
from av.container import InputContainer

from millpond.errors import MillpondError
from millpond_cli.gateway.source import Source

_QUIET: Final = ("-hide_banner", "-loglevel", "error", "-nostdin", "-y")
# How much of ffmpeg's complaints a sentence can carry.
WORDS_MAX: Final = 300


class NotDecoded(MillpondError):
    """{path} can't be decoded: {problem}. Play it to see whether the file is whole."""


@contextmanager
def encoded_video(source: Source, segment_s: float) -> Iterator[InputContainer]:
    """The source's video as ffmpeg makes it, while it makes it: every key frame starts a segment; no B-frames.

    Upright, 8 bit, even sides, time stamps as in the source, hardly any loss. Raises ``NotDecoded``, also at the end.
    """
    with tempfile.TemporaryFile() as words:
        ffmpeg = subprocess.Popen(_video_command(source, segment_s), stdout=subprocess.PIPE, stderr=words)
        assert ffmpeg.stdout is not None
        try:
            try:
                container = av.open(ffmpeg.stdout, "r", format="nut")
            except av.FFmpegError as error:
                ffmpeg.wait()
                raise NotDecoded(path=source.path, problem=_said(words) or str(error)) from error
            with container:
                yield container
            if ffmpeg.wait():
                raise NotDecoded(path=source.path, problem=_said(words) or f"ffmpeg ended with {ffmpeg.returncode}")
        finally:
            # Whoever stops reading early doesn't want the rest.
            ffmpeg.kill()
            ffmpeg.wait()
            ffmpeg.stdout.close()


def encode_audio(source: Path, path: Path) -> None:
    """The first sound of ``source`` as AAC in the file ``path``, at the same times. Raises ``NotDecoded``."""
    command = [_ffmpeg(), *_QUIET, "-copyts", "-i", f"file:{source}", "-map", "0:a:0", "-c:a", "aac", f"file:{path}"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise NotDecoded(path=f"The sound of {source}", problem=_shortened(done.stderr))


def _video_command(source: Source, segment_s: float) -> list[str]:
    width, height = (max(16, side - side % 2) for side in (source.width, source.height))
    return [
        *(_ffmpeg(), *_QUIET, "-copyts", "-i", f"file:{source.path}", "-map", "0:V:0"),
        *("-fps_mode", "passthrough", "-enc_time_base", "demux"),
        # One size throughout, even where the source changes its own.
        *("-vf", f"scale={width}:{height}", "-pix_fmt", "yuv420p"),
        *("-c:v", "libx264", "-preset", "veryfast", "-crf", "14", "-bf", "0"),
        # No key frame but those that start a segment.
        *("-g", "1000000", "-x264-params", "scenecut=0"),
        *("-force_key_frames", f"expr:if(isnan(prev_forced_t),1,gte(t,prev_forced_t+{segment_s}))"),
        *("-f", "nut", "pipe:1"),
    ]


def _ffmpeg() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _said(words: IO[bytes]) -> str:
    words.seek(0)
    return _shortened(words.read())


def _shortened(words: bytes) -> str:
    return " ".join(words.decode(errors="replace").split())[-WORDS_MAX:]
