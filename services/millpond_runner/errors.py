"""What can be wrong before a job has begun: with the runner itself, and with what a caller asks."""

from __future__ import annotations

from typing import ClassVar

from millpond.errors import MillpondError


class FfmpegUnusable(MillpondError):
    """{ffmpeg} can't encode with {encoders}: {why}. Set MILLPOND_RUNNER_FFMPEG to an ffmpeg (6.1 or later) that has
    libx264, or MILLPOND_RUNNER_ENCODER to what it has.
    """


class GpuUnknown(MillpondError):
    """MILLPOND_RUNNER_GPU is {gpu}, and this machine has {known}. Set it to one of those, or unset it."""


class DirectoryUnusable(MillpondError):
    """MILLPOND_RUNNER_DIRECTORY is {directory}: {why}. Name a directory that belongs to the user who runs this."""


class AddressUnusable(MillpondError):
    """Can't listen on {host}:{port}: {why}. Set MILLPOND_RUNNER_PORT to another port, or to 0 for a free one."""


class Refused(MillpondError):
    """The request is refused."""

    status: ClassVar[int] = 400
    reason: ClassVar[str] = "refused"


class Unauthorized(Refused):
    """The bearer token is missing or wrong: send `Authorization: Bearer <AUTH_TOKEN of the runner>`."""

    status, reason = 401, "unauthorized"


class UploadStalled(Refused):
    """No byte of the input came for {hang_s:g} s, or it was not whole after {job_s:g} s."""

    status, reason = 408, "upload-stalled"


class JobExists(Refused):
    """Job {job} runs, or its outputs are still here. DELETE /outputs/{job} first, or use another id."""

    status, reason = 409, "job-exists"


class InputTooLarge(Refused):
    """The input is over {limit_bytes} bytes: cut it into shorter segments."""

    status, reason = 413, "too-large"


class NoSlot(Refused):
    """All {slots} slots are taken: ask again when a job has ended."""

    status, reason = 503, "no-slot"


class Stopping(Refused):
    """The runner is stopping and takes no new jobs."""

    status, reason = 503, "stopping"


class NoSpace(Refused):
    """There is no space left for the input on the runner's disk."""

    status, reason = 507, "disk-full"


class NoOutput(Refused):
    """There is no rendition {rendition} of job {job}: it was never there, was deleted, or is too old."""

    status, reason = 404, "no-output"
