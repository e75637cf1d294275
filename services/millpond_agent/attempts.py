"""The attempts that run: each ends with one word to the pool, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import structlog

from millpond.events.agent_claims import JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.device_claims import Output
from millpond.events.scheduler_assignments import JobAssigned
from millpond_agent.activity import Activity
from millpond_agent.connection import Connection
from millpond_agent.edge_client import EdgeClient
from millpond_agent.errors import AttemptFailed, SessionUnwritable
from millpond_agent.jobs import Track, transcode
from millpond_agent.rules import Running
from millpond_agent.session import Session
from millpond_agent.stations import Station

SENTENCE_CHARACTERS_MAX: Final = 2_000

log = structlog.get_logger(__name__)


class Attempts:
    """``running`` by lease: what holds a slot."""

    def __init__(
        self,
        directory: Path,
        *,
        stations: Sequence[Station],
        session: Session,
        edge: EdgeClient,
        connection: Connection,
        activity: Activity,
    ) -> None:
        """``directory``: for the jobs' inputs, while they are needed."""
        self.running: Mapping[str, Running] = {}
        self._directory = directory
        self._stations = {station.gpu.hardware_id: station for station in stations}
        self._session = session
        self._edge = edge
        self._connection = connection
        self._activity = activity
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._cancelled: set[str] = set()

    def begin(self, assigned: JobAssigned) -> None:
        running = Running(assigned.job, assigned.attempt, assigned.hardware_id)
        self.running = {**self.running, assigned.lease: running}
        task = asyncio.create_task(self._attempt(assigned))
        self._tasks[assigned.lease] = task
        # Also of one that was cancelled before its first step.
        task.add_done_callback(lambda _: self._over(assigned.lease))

    def decline(self, assigned: JobAssigned, reason: str, sentence: str) -> None:
        """Raises ``SessionUnwritable``."""
        fields = {"reason": reason, "sentence": sentence, **_names(assigned)}
        self._session.record_end(JobFailed, outcome="declined", **fields)
        self._connection.send_recorded()
        self._activity.tell(f"Job {_short(assigned)} declined: {sentence}")

    def cancel(self, lease: str) -> None:
        """The pool has closed it: it ends without a word."""
        self._cancelled.add(lease)
        self._tasks[lease].cancel()

    async def finish(self, seconds_max: float) -> None:
        """Waits for all of them; fails those that take longer."""
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=seconds_max)
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def report(self, every_s: float) -> None:
        """Progress of all that runs, for ever: only of what has moved, since a job that hangs is to lose its lease."""
        while True:
            await asyncio.sleep(every_s)
            for track in list(self._activity.running.values()):
                if track.has_moved and self._connection.is_open:
                    track.has_moved = False
                    frames = track.frames * len(track.assigned.spec.renditions)
                    try:
                        claim = self._session.sign(JobProgress, frames=frames, **_names(track.assigned))
                    except SessionUnwritable as error:
                        self._activity.tell_bad(str(error))
                    else:
                        self._connection.send(claim)

    async def _attempt(self, assigned: JobAssigned) -> None:
        track = Track(assigned, began_at=self._edge.now())
        self._activity.running[assigned.lease] = track
        try:
            outputs = await self._transcoded(track)
        except AttemptFailed as error:
            self._failed(assigned, error.reason, error.sentence)
        except asyncio.CancelledError:
            self._stopped(assigned)
        except SessionUnwritable as error:
            # Nothing can be said about it, so its lease runs out and the job goes elsewhere.
            self._activity.tell_bad(str(error))
        except Exception as error:
            # A fault of ours that one job uncovers must not end the others.
            log.exception("attempt_failed", job=assigned.job, attempt=assigned.attempt)
            self._failed(assigned, "agent-fault", f"The agent failed: {error!r}.")
        else:
            self._succeeded(track, outputs)

    def _over(self, lease: str) -> None:
        self.running = {key: each for key, each in self.running.items() if key != lease}
        self._activity.running.pop(lease, None)
        self._tasks.pop(lease, None)
        self._cancelled.discard(lease)
        self._connection.send_recorded()
        self.count()

    async def _transcoded(self, track: Track) -> tuple[Output, ...]:
        assigned = track.assigned
        runner = self._stations[assigned.hardware_id].runner.client
        if runner is None:
            raise AttemptFailed(reason="crashed", sentence="The runner does not answer.")

        def started() -> None:
            self._session.record(JobStarted, **_names(assigned))
            self._connection.send_recorded()
            self._activity.tell(f"Job {_short(assigned)} started.")

        return await transcode(track, runner=runner, edge=self._edge, directory=self._directory, started=started)

    def _succeeded(self, track: Track, outputs: tuple[Output, ...]) -> None:
        pixels = sum(output.pixels for output in outputs)
        if self._end(JobSucceeded, outcome="succeeded", pixels=pixels, outputs=outputs, **_names(track.assigned)):
            self._activity.frames_of_last = outputs[0].frames
            told = f"Job {_short(track.assigned)} done: {len(outputs)} renditions, {pixels / 1e6:.1f} megapixels."
            self._activity.tell(told, "good")

    def _failed(self, assigned: JobAssigned, reason: str, sentence: str) -> None:
        fields = {"reason": reason, "sentence": sentence[:SENTENCE_CHARACTERS_MAX], **_names(assigned)}
        if self._end(JobFailed, outcome="failed", **fields):
            self._activity.tell_bad(f"Job {_short(assigned)} failed ({reason}): {sentence}")

    def _stopped(self, assigned: JobAssigned) -> None:
        if assigned.lease not in self._cancelled:
            self._failed(assigned, "stopped", "The machine was switched off before the job was done.")
            return
        try:
            self._session.record_cancelled(assigned.lease)
        except SessionUnwritable as error:
            self._activity.tell_bad(str(error))

    def _end(self, kind: Any, **fields: Any) -> bool:
        try:
            self._session.record_end(kind, **fields)
        except SessionUnwritable as error:
            # As above: the lease runs out.
            self._activity.tell_bad(str(error))
            return False
        return True

    def count(self) -> None:
        """Today begins at this machine's midnight."""
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        self._activity.figures = self._session.figures(midnight)


def _names(assigned: JobAssigned) -> dict[str, Any]:
    return {"job": assigned.job, "attempt": assigned.attempt, "lease": assigned.lease}


def _short(assigned: JobAssigned) -> str:
    return f"{assigned.job[:8]}/{assigned.attempt}"
