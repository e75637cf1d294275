"""What one can set of a runner."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from millpond.settings.environment import Settings


class RunnerSettings(Settings):
    """A laptop needs none of these."""

    model_config = SettingsConfigDict(env_prefix="MILLPOND_RUNNER_")
    used_by: ClassVar[str] = "runner"

    host: str = Field(default="127.0.0.1", description="Address to listen on; 0.0.0.0 in a container.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    slots: int = Field(default=1, ge=1, le=256, description="Transcodes at once; more are refused with 503.")
    threads: int = Field(
        default=0, ge=0, le=256, description="Threads for each part of one ffmpeg; 0: cores divided by slots."
    )
    ffmpeg: Path | None = Field(default=None, description="The ffmpeg to run; unset: the one of imageio-ffmpeg.")
    encoder: Literal["auto", "h264_nvenc", "libx264"] = Field(
        default="auto", description="auto: h264_nvenc if a test encode succeeds at the start, libx264 otherwise."
    )
    gpu: str | None = Field(default=None, description="NVML UUID of the one card to use and to show; unset: all.")
    directory: Path | None = Field(
        default=None, description="Where jobs' files lie while they are needed; unset: the system's temporary place."
    )
    hang_s: float = Field(default=20, gt=0, description="A job without a new frame, or an upload without a byte, ends.")
    job_s: float = Field(default=600, gt=0, description="A job that takes longer ends.")
    stop_s: float = Field(
        default=30, ge=0, description="How long SIGTERM waits for jobs and for outputs to be fetched."
    )
    keep_s: float = Field(default=600, gt=0, description="Outputs that nobody has deleted are deleted after this time.")
    auth_token: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("MILLPOND_RUNNER_AUTH_TOKEN", "AUTH_TOKEN"),
        description="If set, /transcode and /outputs need it as bearer token.",
    )
