"""Waits for jobs: edge's events tell how they fare, and after every break edge is asked about each that is open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from millpond.errors import MillpondError
from millpond.stream.backoff import backoff_s
from millpond_cli.gateway.client import ENDED, RETRY_MAX_S, ConnectionLost, EdgeAway, EdgeClient, EdgeRefused, Job

# Edge doesn't know the cursor any more, for example since its topics were made again.
CURSOR_GONE: Final = frozenset({400, 410})
NOT_FOUND: Final = 404

Told = Callable[[Job], None]


class PoolSilent(MillpondError):
    """The pool has said nothing final about job {job} within {within_s:g} s; the last was {state!r}. Send the video again with
    the same --id to go on waiting."""


@dataclass(slots=True)
class _Watched:
    told: Told
    ended: asyncio.Future[Job]
    last: Job | None = None


class JobFeed:
    """One connection for all jobs that are waited for. ``run`` keeps it, in a task of its own."""

    def __init__(self, client: EdgeClient, on_break: Callable[[str], None]) -> None:
        self._client = client
        self._on_break = on_break
        self._watched: dict[str, _Watched] = {}
        self._cursor: str | None = None

    async def run(self) -> None:
        """Until cancelled. Raises ``EdgeAway`` when edge can't be reached for as long as the client is patient."""
        failures, reached = 0, time.monotonic()
        while True:
            try:
                async with self._client.follow(self._cursor) as events:
                    failures, reached = 0, time.monotonic()
                    for job in list(self._watched):
                        await self._ask(job)
                    async for cursor, heard in events:
                        self._cursor = cursor or self._cursor
                        self._hear(heard)
                        reached = time.monotonic()
            except EdgeRefused as refused:
                if self._cursor is None or refused.facts["status"] not in CURSOR_GONE:
                    raise
                # Nothing is missed by it: what is open is asked for on connecting.
                self._cursor = None
            except ConnectionLost as lost:
                if time.monotonic() - reached > self._client.patience_s:
                    url, patience_s, cause = self._client.url, self._client.patience_s, lost.facts["cause"]
                    raise EdgeAway(url=url, patience_s=patience_s, cause=cause) from lost
                if failures == 0:
                    self._on_break(str(lost))
            # A connection that edge ended by itself is made again too, and never in a tight loop.
            await asyncio.sleep(backoff_s(failures, longest_s=RETRY_MAX_S))
            failures += 1

    async def ended(self, job: str, told: Told, within_s: float) -> Job:
        """The job once it is finished, refused or given up; ``told`` hears of every step. Raises ``PoolSilent``."""
        watched = self._watched[job] = _Watched(told, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(within_s):
                # It may have ended before, in an earlier run: then no event comes.
                await self._ask(job)
                return await watched.ended
        except TimeoutError:
            state = watched.last.state if watched.last else "nothing"
            raise PoolSilent(job=job, within_s=within_s, state=state) from None
        finally:
            del self._watched[job]

    async def _ask(self, job: str) -> None:
        try:
            self._hear(await self._client.get_job(job))
        except EdgeRefused as refused:
            # An edge that has just started may not have read as far: it will tell.
            if refused.facts["status"] != NOT_FOUND:
                raise

    def _hear(self, job: Job) -> None:
        """Takes it unless it is known, or older than what is known: events come again after a break."""
        watched = self._watched.get(job.job)
        if watched is None or watched.ended.done() or job == watched.last:
            return
        if watched.last is not None and job.attempts < watched.last.attempts and job.state not in ENDED:
            return
        watched.last = job
        watched.told(job)
        if job.state in ENDED:
            watched.ended.set_result(job)
