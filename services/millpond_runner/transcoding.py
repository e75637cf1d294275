"""The work on one segment that lies in its folder: ffmpeg, and what came out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond.workloads.transcode import Rendition, pixels
from millpond_runner.command import output_file, transcode_command
from millpond_runner.counting import OutputUnreadable, count
from millpond_runner.encoder import Ffmpeg
from millpond_runner.ffmpeg import run_ffmpeg
from millpond_runner.messages import Done, Outcome, Reason, RenditionDone, TranscodeRequest
from millpond_runner.rules import failure, failure_of_exit, failure_of_output, frames_told


@dataclass(frozen=True)
class Transcoding:
    """``threads`` of each part of one ffmpeg. Without a new frame for ``hang_s`` it hangs."""

    ffmpeg: Ffmpeg
    threads: int
    hang_s: float

    async def run(self, request: TranscodeRequest, folder: Path, encoded: Callable[[int], None]) -> Outcome:
        """The outputs lie beside the input; ``encoded`` hears how many frames are. Cancelled, it leaves no process."""
        command = transcode_command(
            self.ffmpeg.path, request.renditions, encoder=self.ffmpeg.encoder, threads=self.threads
        )
        progress = _Progress(encoded)
        try:
            async with asyncio.timeout(self.hang_s) as patience:
                ended = await run_ffmpeg(
                    command,
                    directory=folder,
                    environment=self.ffmpeg.environment,
                    output_bytes_max=BLOB_BYTES_MAX,
                    told=lambda line: self._renew(patience) if progress.heard(line) else None,
                )
        except TimeoutError:
            return failure(Reason.HUNG, limit_s=self.hang_s)
        except OSError as error:
            return failure(Reason.CRASHED, why=f"it can't be started ({error.strerror})")
        if ended.status != 0:
            return failure_of_exit(ended.status, ended.errors, output_bytes_max=BLOB_BYTES_MAX)
        try:
            made = tuple([await _made(rendition, folder) for rendition in request.renditions])
        except OutputUnreadable as error:
            return failure_of_output(str(error), frames=progress.frames)
        return Done(decoded_frames=progress.frames, renditions=made)

    def _renew(self, patience: asyncio.Timeout) -> None:
        # One that is over can't be moved; ffmpeg may speak once more before it is killed.
        if not patience.expired():
            patience.reschedule(asyncio.get_running_loop().time() + self.hang_s)


class _Progress:
    def __init__(self, encoded: Callable[[int], None]) -> None:
        self.frames = 0
        self._encoded = encoded

    def heard(self, line: str) -> bool:
        """Whether this line of ffmpeg's tells of new frames."""
        frames = frames_told(line)
        if frames is None or frames <= self.frames:
            return False
        self.frames = frames
        self._encoded(frames)
        return True


async def _made(rendition: Rendition, folder: Path) -> RenditionDone:
    """Raises ``OutputUnreadable``, also if there is something else in the file than was asked for."""
    file = output_file(rendition.name)
    found = await asyncio.to_thread(count, folder / file)
    if (found.width, found.height) != (rendition.width, rendition.height):
        raise OutputUnreadable(file=file, why=f"it is {found.width}x{found.height}")
    if not found.frames:
        raise OutputUnreadable(file=file, why="there is no frame in it")
    return RenditionDone(
        name=rendition.name,
        hash=found.hash,
        size_bytes=found.size_bytes,
        width=found.width,
        height=found.height,
        frames=found.frames,
        pixels=pixels(width=found.width, height=found.height, frames=found.frames),
    )
