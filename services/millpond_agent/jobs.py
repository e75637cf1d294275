"""The life of one job: its input comes, the runner works, the outputs go."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from millpond.events.device_claims import Output
from millpond.events.scheduler_assignments import JobAssigned
from millpond.workloads.blob import Blob
from millpond_agent.edge_client import EdgeClient
from millpond_agent.errors import AttemptFailed, RunnerLost, RunnerRefused
from millpond_agent.runner_client import Done, Failed, Progress, RenditionDone, RunnerClient

# A runner's slot is free a moment after the job before it was cancelled.
SLOT_S_MAX: Final = 10.0
SLOT_EVERY_S: Final = 0.5

Phase = Literal["fetching", "transcoding", "delivering"]


@dataclass
class Track:
    """How far an attempt is. ``frames`` are the source's that are encoded; ``expected_frames`` None: unknown."""

    assigned: JobAssigned
    began_at: datetime
    phase: Phase = "fetching"
    frames: int = 0
    expected_frames: int | None = None
    # Something went on since it was last looked at: bytes or frames.
    has_moved: bool = field(default=False)

    def moved(self) -> None:
        self.has_moved = True


async def transcode(
    track: Track, *, runner: RunnerClient, edge: EdgeClient, directory: Path, started: Callable[[], None]
) -> tuple[Output, ...]:
    """The outputs, all of them in the pool's store. ``started`` is called when the input is there.

    Raises ``AttemptFailed``. However it ends, also cancelled, nothing of it is left here or at the runner.
    """
    assigned = track.assigned
    source = directory / assigned.lease
    try:
        async with asyncio.timeout((assigned.deadline_at - edge.now()).total_seconds()):
            await edge.get_blob(assigned.spec.source, source, track.moved)
            started()
            track.phase = "transcoding"
            done = await _transcoded(track, runner, source)
            track.phase = "delivering"
            return await _delivered(track, done, runner, edge)
    except TimeoutError as error:
        sentence = f"The job's deadline passed while it was {track.phase}."
        raise AttemptFailed(reason="deadline-passed", sentence=sentence) from error
    except RunnerLost as error:
        raise AttemptFailed(reason="crashed", sentence=str(error)) from error
    except RunnerRefused as error:
        raise AttemptFailed(reason=_reason(error), sentence=str(error)) from error
    except OSError as error:
        reason = "disk-full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk-failed"
        raise AttemptFailed(reason=reason, sentence=f"{source.parent}: {error.strerror}.") from error
    finally:
        source.unlink(missing_ok=True)
        with suppress(RunnerLost, RunnerRefused):
            await runner.delete(assigned.lease)


async def _transcoded(track: Track, runner: RunnerClient, source: Path) -> Done:
    assigned = track.assigned
    until = asyncio.get_running_loop().time() + SLOT_S_MAX
    while True:
        try:
            return await _listened(track, runner, source)
        except RunnerRefused as error:
            if _reason(error) not in ("no-slot", "job-exists") or asyncio.get_running_loop().time() > until:
                raise
            if _reason(error) == "job-exists":
                # Of this lease only an attempt of ours can be there, from before a restart.
                await runner.delete(assigned.lease)
            await asyncio.sleep(SLOT_EVERY_S)


async def _listened(track: Track, runner: RunnerClient, source: Path) -> Done:
    assigned = track.assigned
    async with aclosing(runner.transcode(assigned.lease, assigned.spec.renditions, source)) as lines:
        async for said in lines:
            match said:
                case Progress():
                    if said.frames != track.frames:
                        track.moved()
                    track.frames = said.frames
                    track.expected_frames = said.expected_frames or track.expected_frames
                case Failed():
                    raise AttemptFailed(reason=said.reason, sentence=said.sentence)
                case Done():
                    return said
    raise RunnerLost(cause="it hung up before the job was done")


async def _delivered(track: Track, done: Done, runner: RunnerClient, edge: EdgeClient) -> tuple[Output, ...]:
    names = [rendition.name for rendition in track.assigned.spec.renditions]
    if [rendition.name for rendition in done.renditions] != names:
        raise RunnerLost(cause="it made other renditions than it was asked for")
    puts = [asyncio.create_task(_put(track, rendition, runner, edge)) for rendition in done.renditions]
    try:
        return tuple(await asyncio.gather(*puts))
    finally:
        for put in puts:
            put.cancel()
        await asyncio.gather(*puts, return_exceptions=True)


async def _put(track: Track, rendition: RenditionDone, runner: RunnerClient, edge: EdgeClient) -> Output:
    blob = Blob(hash=rendition.hash, size_bytes=rendition.size_bytes)

    def content() -> AsyncIterator[bytes]:
        return runner.output(track.assigned.lease, rendition.name)

    await edge.put_blob(blob, content, track.moved)
    return Output(rendition=rendition.name, blob=blob, frames=rendition.frames, pixels=rendition.pixels)


def _reason(error: RunnerRefused) -> str:
    return str(error.facts["reason"])
