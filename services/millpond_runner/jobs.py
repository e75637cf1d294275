"""The jobs: who has a slot, how each of them ends, and how long its outputs stay."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond_runner.command import INPUT_FILE, output_file
from millpond_runner.errors import InputTooLarge, JobExists, NoOutput, NoSlot, NoSpace, Stopping, UploadStalled
from millpond_runner.messages import Done, Outcome, Reason, TranscodeRequest
from millpond_runner.rules import failure
from millpond_runner.transcoding import Transcoding
from millpond_runner.workspace import Workspace

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """``job_s`` from the first byte of the input to the last line; ``keep_s`` from there."""

    slots: int
    hang_s: float
    job_s: float
    keep_s: float


@dataclass(eq=False)
class Job:
    """``received`` is done once the whole input is there; ``frames`` are encoded so far."""

    request: TranscodeRequest
    folder: Path
    received: asyncio.Future[None]
    frames: int = 0
    runs: bool = True
    ended_for: Reason | None = None
    expiry: asyncio.TimerHandle | None = None
    task: asyncio.Task[Outcome] = field(init=False)


class Jobs:
    """All that concerns one job happens in its task; all of them belong to one event loop."""

    def __init__(self, limits: Limits, *, transcoding: Transcoding, workspace: Workspace) -> None:
        self._limits = limits
        self._transcoding = transcoding
        self._workspace = workspace
        self._jobs: dict[str, Job] = {}
        self._stopping = False
        self._all_gone = asyncio.Event()
        self._all_gone.set()

    @property
    def running(self) -> int:
        """Slots in use."""
        return sum(job.runs for job in self._jobs.values())

    async def begin(self, request: TranscodeRequest, source: AsyncIterator[bytes], length: int | None) -> Job:
        """Takes a slot and the whole input. ``length`` of the input, if the caller has said it.

        Raises a ``Refused``, or what ``source`` raises: then nothing is kept, and nothing runs.
        """
        self._check(request, length)
        with _space():
            folder = self._workspace.job_folder()
        job = Job(request, folder, asyncio.get_running_loop().create_future())
        self._jobs[request.job] = job
        self._all_gone.clear()
        job.task = asyncio.create_task(self._live(job, source))
        try:
            ends: set[asyncio.Future[Any]] = {job.task, job.received}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self.discard(job)
            raise
        if not job.received.done():
            job.task.result()  # raises why; a job that was cancelled before it had its input has an outcome, though
        return job

    def find(self, name: str) -> Job | None:
        return self._jobs.get(name)

    def output(self, name: str, rendition: str) -> Path:
        """A finished file. Raises ``NoOutput``."""
        job = self._jobs.get(name)
        if job is None or job.runs or rendition not in {each.name for each in job.request.renditions}:
            raise NoOutput(rendition=rendition, job=name)
        return job.folder / output_file(rendition)

    async def discard(self, job: Job, reason: Reason = Reason.CANCELLED) -> None:
        """Ends it if it runs, and removes its files. When this returns, its slot is free and its id is unknown."""
        if job.runs:
            job.ended_for = job.ended_for or reason
            job.task.cancel()
        await asyncio.wait({job.task})
        self._forget(job)

    async def finish(self, seconds_max: float) -> None:
        """Takes no new jobs; waits until those that run have ended and all outputs were deleted."""
        self._stopping = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._all_gone.wait(), seconds_max)

    async def stop(self) -> None:
        """Takes no new jobs; ends all that run, and removes all that is kept."""
        self._stopping = True
        await asyncio.gather(*(self.discard(job, Reason.STOPPED) for job in list(self._jobs.values())))

    def _check(self, request: TranscodeRequest, length: int | None) -> None:
        if self._stopping:
            raise Stopping
        if request.job in self._jobs:
            raise JobExists(job=request.job)
        if length is not None and length > BLOB_BYTES_MAX:
            raise InputTooLarge(limit_bytes=BLOB_BYTES_MAX)
        if self.running >= self._limits.slots:
            raise NoSlot(slots=self._limits.slots)

    async def _live(self, job: Job, source: AsyncIterator[bytes]) -> Outcome:
        outcome: Outcome | None = None
        try:
            outcome = await self._outcome(job, source)
        finally:
            # Before anybody hears of the end: who has heard of it may send the next one.
            job.runs = False
            if isinstance(outcome, Done):
                (job.folder / INPUT_FILE).unlink(missing_ok=True)
                job.expiry = asyncio.get_running_loop().call_later(self._limits.keep_s, self._forget, job)
            else:
                self._forget(job)
        log.info("job_ended", job=job.request.job, **outcome.model_dump(mode="json", exclude={"renditions"}))
        return outcome

    async def _outcome(self, job: Job, source: AsyncIterator[bytes]) -> Outcome:
        def encoded(frames: int) -> None:
            job.frames = frames

        try:
            async with asyncio.timeout(self._limits.job_s):
                await self._receive(job.folder / INPUT_FILE, source)
                job.received.set_result(None)
                return await self._transcoding.run(job.request, job.folder, encoded)
        except TimeoutError:
            if not job.received.done():
                raise UploadStalled(hang_s=self._limits.hang_s, job_s=self._limits.job_s) from None
            return failure(Reason.TIMED_OUT, limit_s=self._limits.job_s)
        except asyncio.CancelledError:
            if job.ended_for is None:  # not by us: the loop is being torn down
                raise
            return failure(job.ended_for)

    async def _receive(self, path: Path, source: AsyncIterator[bytes]) -> None:
        size_bytes = 0
        with _space(), await asyncio.to_thread(path.open, "wb") as file:
            while True:
                async with asyncio.timeout(self._limits.hang_s):
                    chunk = await anext(source, None)
                if chunk is None:
                    return
                size_bytes += len(chunk)
                if size_bytes > BLOB_BYTES_MAX:
                    raise InputTooLarge(limit_bytes=BLOB_BYTES_MAX)
                await asyncio.to_thread(file.write, chunk)

    def _forget(self, job: Job) -> None:
        if job.expiry is not None:
            job.expiry.cancel()
        self._workspace.remove(job.folder)
        # Its id may be another job's by now.
        if self._jobs.get(job.request.job) is job:
            del self._jobs[job.request.job]
        if not self._jobs:
            self._all_gone.set()


@contextmanager
def _space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise NoSpace from error
        raise
