"""Being the one active process: takes a lease, renews it while the work goes on, lets go of it at the end (STREAM 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from millpond.stream.database import Database, DatabaseAway, Lease, LeaseLost

# How often a standby looks; with the lease and the server's limit for idle transactions a takeover stays below 5 s.
STANDBY_LOOK_S = 0.25

Work = Callable[[Lease], Awaitable[None]]
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class LeaseTiming:
    """Seconds that a holder may be silent, and seconds between its renewals."""

    lease_s: float = 2.5
    renew_every_s: float = 0.5


class Leadership:
    """One lease as this process sees it. ``held`` is None on a standby."""

    def __init__(
        self, database: Database, name: str, owner: str, timing: LeaseTiming, monotonic_s: Callable[[], float]
    ) -> None:
        self._database = database
        self._name = name
        self._owner = owner
        self._timing = timing
        self._monotonic_s = monotonic_s
        self.held: Lease | None = None
        self.looked_at_s = monotonic_s()

    async def lead(self, work: Work, stopping: asyncio.Event) -> None:
        """Runs ``work`` whenever the lease is ours, until ``stopping`` is set. What else ``work`` raises comes out here."""
        while not stopping.is_set():
            self.looked_at_s = self._monotonic_s()
            try:
                self.held = await self._database.try_lease(self._name, self._owner, self._timing.lease_s)
                if self.held is None:
                    await asyncio.sleep(STANDBY_LOOK_S)
                else:
                    await self._hold(self.held, work)
            except LeaseLost as lost:
                log.warning("lease_lost", cause=str(lost))
            except DatabaseAway as away:
                log.warning("away", cause=str(away))
                await asyncio.sleep(STANDBY_LOOK_S)
            finally:
                self.held = None

    async def _hold(self, lease: Lease, work: Work) -> None:
        log.info("lease_taken", lease=lease.name, epoch=lease.epoch)
        working = asyncio.ensure_future(work(lease))
        renewing = asyncio.ensure_future(self._renew(lease))
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, renewing):
                if not task.done():
                    task.cancel()
            outcomes = await asyncio.gather(working, renewing, return_exceptions=True)
        # Given back even if the work failed: a standby may do better, and needn't wait.
        with suppress(DatabaseAway):
            await self._database.release_lease(lease)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _renew(self, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._timing.renew_every_s)
            # The database away is no reason to let go: nobody can take over there either, and each transaction checks.
            with suppress(DatabaseAway):
                await self._database.renew_lease(lease)
