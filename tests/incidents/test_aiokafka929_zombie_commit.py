"""Incident 53, `aiokafka929-zombie-commit`: a frozen owner wakes and commits for what another has taken over.

The rebalance (or the lease's end) happens while it has a batch in its hand (aiokafka #929, faust #104). Here the position,
and for a single-active service the lease, are checked in the transaction that applies the batch.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from stream.staged_tally import REACHED, staged_tally
from stream.tables import drops_counted, signatures
from stream.topics_made import applied_once, create_topics, new_name, produce, rain, read_all
from stream.workers import Worker, Workers, wait_until

pytestmark = pytest.mark.long

BATCH = 500
BEFORE = 100
AFTER = 100
DROPS = BEFORE + BATCH + AFTER
SESSION_MS = 1_000
WITHIN_S = 120.0
# Several polls and heartbeats of the one that has woken, whatever it does.
AWAKE_S = 2.0

MILLPOND = "stream.staged_tally"
NAIVE = "incidents.zombie_tally"


@pytest.fixture
def workers(impatient_kafka: str, database: str, run_directory: Path) -> Iterator[Workers]:
    started = Workers(impatient_kafka, database, run_directory / "workers" / uuid.uuid4().hex[:8])
    yield started
    started.end()


@dataclass
class Zombie:
    """A has a batch in its hand and is frozen, B takes over and applies it, A wakes."""

    bootstrap: str
    dsn: str
    workers: Workers
    directory: Path
    program: str
    shape: str

    async def walk(self) -> tuple[str, Worker, Worker]:
        """Returns the service's name, A and B, after both had time to do whatever they do."""
        name, pause = new_name("zombie"), self.directory / "pause"
        await create_topics(self.bootstrap, staged_tally(name))
        await produce(self.bootstrap, name, rain(BEFORE))
        a = self._start(name, STAGE_WAIT=f"planned:{pause}")
        await wait_until(lambda: self._counted(name, BEFORE), WITHIN_S)
        pause.touch()
        await produce(self.bootstrap, name, rain(BATCH, first=BEFORE))
        await wait_until(lambda: pause.read_text() == REACHED, WITHIN_S)
        a.freeze()
        b = self._start(name)
        await wait_until(lambda: self._counted(name, BEFORE + BATCH), WITHIN_S)
        self.committed_by_a = await self._signed(name, a)
        pause.unlink()
        a.thaw()
        await asyncio.sleep(AWAKE_S)
        self.committed_by_the_zombie = await self._signed(name, a) - self.committed_by_a
        await produce(self.bootstrap, name, rain(AFTER, first=BEFORE + BATCH))
        await wait_until(lambda: self._counted(name, DROPS), WITHIN_S)
        return name, a, b

    def _start(self, name: str, **environment: str) -> Worker:
        orders = {"STAGE_SESSION_MS": str(SESSION_MS), "STAGE_FORGETFUL": "yes", **environment}
        return self.workers.start(name, self.shape, self.program, **orders)

    async def _counted(self, name: str, drops: int) -> bool:
        return await drops_counted(self.dsn, name) >= drops

    async def _signed(self, name: str, worker: Worker) -> int:
        return await signatures(self.dsn, name, worker.pid)

    async def check(self, name: str) -> None:
        """COUNT: each drop once, for all that A has done since."""
        assert await drops_counted(self.dsn, name) == DROPS


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_the_old_owner_wakes_drops_its_batch_and_carries_on(
    impatient_kafka: str, database: str, workers: Workers, tmp_path: Path, shape: str
) -> None:
    zombie = Zombie(impatient_kafka, database, workers, tmp_path, MILLPOND, shape)
    name, a, b = await zombie.walk()
    await zombie.check(name)
    assert zombie.committed_by_the_zombie == 0
    assert ("position_moved" if shape == "grouped" else "lease_lost") in a.log_text()
    b.terminate()
    a.terminate()
    told = applied_once(await read_all(impatient_kafka, staged_tally(name).writes[0]))
    assert sum(map(len, told.values())) == DROPS


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_the_same_check_fails_against_a_consumer_that_applies_and_then_commits(
    impatient_kafka: str, database: str, workers: Workers, tmp_path: Path, shape: str
) -> None:
    zombie = Zombie(impatient_kafka, database, workers, tmp_path, NAIVE, shape)
    name, _, _ = await zombie.walk()
    with pytest.raises(AssertionError):
        await zombie.check(name)
    assert await drops_counted(database, name) >= DROPS + 1
