"""Which ffmpeg works here, and with which encoder: tried before any job comes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import imageio_ffmpeg  # type: ignore[import-untyped]
import structlog

from millpond_runner.command import Encoder, trial_command
from millpond_runner.errors import FfmpegUnusable
from millpond_runner.ffmpeg import Exit, run_ffmpeg
from millpond_runner.rules import cause_told

TRIAL_S_MAX: Final = 20.0
# The best first.
CHOICES: Final[Mapping[str, Sequence[Encoder]]] = {
    "auto": ("h264_nvenc", "libx264"),
    "h264_nvenc": ("h264_nvenc",),
    "libx264": ("libx264",),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Ffmpeg:
    """A binary, the environment that it runs in, and the encoder that works in both."""

    path: Path
    environment: Mapping[str, str]
    encoder: Encoder

    @property
    def is_there(self) -> bool:
        return shutil.which(self.path) is not None


async def find_ffmpeg(
    configured: Path | None, *, encoder: str, environment: Mapping[str, str], directory: Path
) -> Ffmpeg:
    """``configured`` None: imageio-ffmpeg's. ``directory``: where the trials run. Raises ``FfmpegUnusable``."""
    path = _path(configured)
    refusals = []
    for choice in CHOICES[encoder]:
        why = await _try(path, choice, environment, directory)
        if why is None:
            return Ffmpeg(path, environment, choice)
        log.info("encoder_left_out", encoder=choice, why=why)
        refusals.append(f"{choice}: {why}")
    raise FfmpegUnusable(ffmpeg=path, encoders=" or ".join(CHOICES[encoder]), why="; ".join(refusals))


def _path(configured: Path | None) -> Path:
    if configured is None:
        try:
            return Path(imageio_ffmpeg.get_ffmpeg_exe())
        except RuntimeError as error:  # there is none for this machine
            raise FfmpegUnusable(ffmpeg="imageio-ffmpeg", encoders="anything", why=error) from error
    # Jobs run in folders of their own: a relative path would lead elsewhere from there.
    return Path(shutil.which(configured) or configured).absolute()


async def _try(path: Path, encoder: Encoder, environment: Mapping[str, str], directory: Path) -> str | None:
    """Why the encoder can't be used; None if it can."""
    command = trial_command(path, encoder)
    try:
        async with asyncio.timeout(TRIAL_S_MAX):
            ended = await run_ffmpeg(
                command, directory=directory, environment=environment, output_bytes_max=0, told=_nobody_hears
            )
    except TimeoutError:
        return f"a test encode took longer than {TRIAL_S_MAX:g} s"
    except OSError as error:
        return error.strerror or str(error)
    return _why(ended)


def _why(ended: Exit) -> str | None:
    return None if ended.status == 0 else cause_told(ended.errors) or f"exit status {ended.status}"


def _nobody_hears(_: str) -> None: ...
