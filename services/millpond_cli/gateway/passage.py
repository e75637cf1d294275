"""A video's segments on their way through the pool, a bounded number at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond.errors import MillpondError
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec
from millpond_cli.gateway.client import EdgeClient, Job
from millpond_cli.gateway.cut import Segment
from millpond_cli.gateway.follow import JobFeed
from millpond_cli.gateway.parts import Part, PartUnusable, check_part
from millpond_cli.gateway.progress import CutEnded, Noted, OnEvent, PartFetched, SegmentMoved, SegmentState

# Beyond the deadline, how long the pool may take to say that it has passed.
ANSWER_S: Final = 60
# How many failures are quoted; more would say the same.
SENTENCES_MAX: Final = 5

_STATES: Final = {
    "requested": SegmentState.SENT,
    "accepted": SegmentState.SENT,
    "assigned": SegmentState.ON_GPU,
    "finished": SegmentState.TRANSCODED,
    "refused": SegmentState.FAILED,
    "given_up": SegmentState.FAILED,
}


class SegmentsFailed(MillpondError):
    """{count} of {total} segments were not transcoded:
    {sentences}
    What came back is kept, but a job that has ended stays so: send the video again with another --id.
    """


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for about every segment. ``directory`` takes what comes back, and keeps it over a crash."""

    send_id: str
    renditions: tuple[Rendition, ...]
    deadline_s: int
    directory: Path

    def request_id(self, index: int) -> str:
        """The same after a crash: so the job is the same, and nothing is done twice."""
        return f"{self.send_id}.{index:05d}"


@dataclass(frozen=True, slots=True)
class Transcoded:
    """A segment that is back: a part for each of the order's renditions, in their order."""

    segment: Segment
    job: Job
    parts: tuple[Part, ...]


class Passage:
    """One video's way through the pool."""

    def __init__(self, client: EdgeClient, order: Order, on_event: OnEvent) -> None:
        self._client = client
        self._order = order
        self._on_event = on_event
        self._feed = JobFeed(client, lambda sentence: on_event(Noted(sentence)))
        self._done: dict[int, Transcoded] = {}
        self._failed: dict[int, str] = {}

    async def run(self, segments: Iterator[Segment], in_flight: int) -> list[Transcoded]:
        """Takes segments as there is room. After a failure no more are sent, and those under way are waited for.

        Raises ``SegmentsFailed``, and whatever else stops the whole.
        """
        try:
            async with asyncio.TaskGroup() as group:
                following = group.create_task(self._feed.run())
                await self._send_all(segments, in_flight)
                following.cancel()
        except BaseExceptionGroup as errors:
            raise _first(errors) from None
        if self._failed:
            sentences = [f"- segment {index}: {sentence}" for index, sentence in sorted(self._failed.items())]
            hidden = len(sentences) - SENTENCES_MAX
            quoted = sentences[:SENTENCES_MAX] + ([f"- and {hidden} more"] if hidden > 0 else [])
            total = len(self._failed) + len(self._done)
            raise SegmentsFailed(count=len(self._failed), total=total, sentences="\n".join(quoted))
        return [self._done[index] for index in sorted(self._done)]

    async def _send_all(self, segments: Iterator[Segment], in_flight: int) -> None:
        room = asyncio.Semaphore(in_flight)
        count = 0
        async with asyncio.TaskGroup() as group:
            while True:
                await room.acquire()
                segment = None if self._failed else await next_segment(segments)
                if segment is None:
                    break
                count += 1
                self._moved(segment, SegmentState.CUT)
                group.create_task(self._send(segment)).add_done_callback(lambda _: room.release())
            if not self._failed:
                self._on_event(CutEnded(count))

    async def _send(self, segment: Segment) -> None:
        """Uploads, asks, waits, fetches."""
        order = self._order
        spec = TranscodeSpec(source=segment.blob, renditions=order.renditions)
        await self._client.put_blob(segment.blob, segment.path)
        job = await self._client.post_job(order.request_id(segment.index), spec, order.deadline_s)
        segment.path.unlink()
        self._moved(segment, SegmentState.SENT)
        ended = await self._feed.ended(job, lambda heard: self._heard(segment, heard), order.deadline_s + ANSWER_S)
        if ended.state != "finished":
            self._failed[segment.index] = ended.sentence or f"{ended.state}, {ended.reason or 'without a reason'}"
            return
        try:
            parts = [await self._fetch(segment, rendition, ended) for rendition in order.renditions]
        except PartUnusable as error:
            self._failed[segment.index] = str(error)
            self._moved(segment, SegmentState.FAILED, ended.attempts, str(error))
            return
        self._done[segment.index] = Transcoded(segment, ended, tuple(parts))
        self._moved(segment, SegmentState.DONE, ended.attempts)

    async def _fetch(self, segment: Segment, rendition: Rendition, job: Job) -> Part:
        """Raises ``PartUnusable``, ``BlobDamaged``."""
        blob = next((output.blob for output in job.outputs if output.rendition == rendition.name), None)
        if blob is None:
            raise PartUnusable(index=segment.index, rendition=rendition.name, problem="not at all")
        path = self._path(segment, rendition, blob)
        if not path.exists():
            await self._client.get_blob(blob, path)
        part = await asyncio.to_thread(check_part, path, segment, rendition)
        self._on_event(PartFetched(segment.index, rendition.name, blob.size_bytes))
        return part

    def _path(self, segment: Segment, rendition: Rendition, blob: Blob) -> Path:
        """Named by its content, so that a file that is there is the right one, whichever run fetched it."""
        return self._order.directory / f"{segment.index:05d}-{rendition.name}-{blob.hash}.part"

    def _heard(self, segment: Segment, job: Job) -> None:
        self._moved(segment, _STATES[job.state], job.attempts, job.sentence)

    def _moved(self, segment: Segment, state: SegmentState, attempts: int = 0, sentence: str | None = None) -> None:
        self._on_event(SegmentMoved(segment.index, segment.frames, state, attempts, sentence))


async def next_segment(segments: Iterator[Segment]) -> Segment | None:
    """Cuts the next one in a thread; when cancelled, however often, waits for the thread to be out of the files."""
    cutting = asyncio.create_task(asyncio.to_thread(next, segments, None))
    try:
        return await asyncio.shield(cutting)
    finally:
        # The feed and an upload may fail in the same moment, and each cancels whoever waits here.
        while not cutting.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({cutting})


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first; the others were stopped by it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
