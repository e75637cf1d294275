"""The scheduler as processes on real Kafka and PostgreSQL: killed, taken over, its database lost and rebuilt."""

from __future__ import annotations

import itertools
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conftest import OwnStack
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from millpond.events.scheduler_reads import ReadUpTo
from millpond.events.topics import SCHEDULER_ASSIGNMENTS, SCHEDULER_READS
from millpond_scheduler.app import scheduler
from scheduler.play import History
from scheduler.samples import POOL, gateway, gpu, joined, progress, requested, terms
from scheduler.wire import Devices, Others, in_order
from stream.disasters import millpond, rows, said
from stream.topics_made import create_topics, read_all
from stream.workers import Worker, Workers, wait_until

pytestmark = pytest.mark.long

JOBS = 30
KILLS = 2
SLOTS = {"a": 3, "b": 2, "dead": 2}
NAMES = {gpu(name): name for name in SLOTS}
# Only a scheduler that hangs reaches it.
WITHIN_S = 120.0
TABLES = ("jobs", "attempts", "asked", "gpus", "devices", "gateways", "offers", "barred")


class Crew:
    """Two processes of the scheduler, whatever is killed."""

    def __init__(self, workers: Workers, dsn: str) -> None:
        self.workers, self.dsn = workers, dsn
        self.aboard = [self._start(), self._start()]

    def _start(self) -> Worker:
        return self.workers.start("scheduler", program="millpond_scheduler")

    async def kill_the_active_one(self) -> None:
        """Once it leads. Another is started in its place."""
        pid = await wait_until(self._active, WITHIN_S)
        os.kill(pid, signal.SIGKILL)
        self.aboard = [each for each in self.aboard if each.pid != pid]
        self.aboard.append(self._start())

    async def _active(self) -> int:
        if await rows(self.dsn, "public", "SELECT to_regclass('scheduler.leases')") == [(None,)]:
            return 0
        found = await rows(self.dsn, "scheduler", "SELECT owner FROM leases WHERE name = 'active'")
        pid = int(found[0][0].rpartition("/")[2]) if found else 0
        return pid if pid in {each.pid for each in self.aboard} else 0

    def end(self) -> None:
        for each in self.aboard:
            each.kill()


async def decided(bootstrap: str) -> list[Any]:
    return in_order(await read_all(bootstrap, SCHEDULER_ASSIGNMENTS))


async def finished(bootstrap: str, jobs: int) -> list[Any]:
    events = await decided(bootstrap)
    ends = Counter(type(each).__name__ for each in events)
    return events if ends["JobFinished"] >= jobs else []


async def test_kills_takeovers_a_dead_gpu_and_a_lost_database(own_stack: OwnStack, tmp_path: Path) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, dsn = stack.kafka.bootstrap_servers, stack.postgres.dsn()
    await create_topics(bootstrap, scheduler(POOL))
    workers = Workers(bootstrap, dsn, tmp_path)
    try:
        crew = Crew(workers, dsn)
        async with Others(bootstrap) as others:
            await others.say(terms(lease_s=3, lease_grace_s=2, attempts_max=20), gateway())
            await others.say(*(event for name, slots in SLOTS.items() for event in joined(name, slots=slots)))
            async with Devices(others, bootstrap, NAMES, dead=frozenset({"dead"})):
                for n in range(JOBS):
                    await others.say(requested(f"j{n}", deadline_s=120))
                    if n % (JOBS // KILLS) == 5:
                        await crew.kill_the_active_one()
                events = await wait_until(lambda: finished(bootstrap, JOBS), WITHIN_S)
            check(events, silent={"dead"})
            await check_reads(bootstrap)

            # Something runs, something waits: then the database is lost.
            await others.say(*(requested(f"late{n}", deadline_s=600) for n in range(12)))
            await wait_until(lambda: _open(dsn, 7), WITHIN_S)
            running = [each for each in await decided(bootstrap) if isinstance(each, JobAssigned)][-7:]
            await others.say(*(progress(each, NAMES[each.gpu]) for each in running))
            crew.end()
            before = {table: await rows(dsn, "scheduler", f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
            await rows(dsn, "scheduler", "DROP SCHEMA scheduler CASCADE")
            rebuilt = await millpond("rebuild", "scheduler", bootstrap=bootstrap, dsn=dsn, MILLPOND_POOL_ID=POOL)
            assert rebuilt.exit_code == 0, said(rebuilt)
            after = {table: await rows(dsn, "scheduler", f"SELECT * FROM {table} ORDER BY 1") for table in TABLES}
            compare(before, after)

            crew = Crew(workers, dsn)
            async with Devices(others, bootstrap, NAMES):
                # Nobody answered while nobody scheduled.
                check(await wait_until(lambda: finished(bootstrap, JOBS + 12), WITHIN_S), silent=set(NAMES.values()))
            for each in crew.aboard:
                each.terminate()
    finally:
        workers.end()


async def _open(dsn: str, attempts: int) -> bool:
    return await rows(dsn, "scheduler", "SELECT count(*) FROM attempts") == [(attempts,)]


def check(events: list[Any], *, silent: set[str]) -> None:
    """``silent``: whose leases may have run out."""
    history = History()
    history.slots = {gpu(name): slots for name, slots in SLOTS.items()}
    for event in events:
        history.check(event)
    assert history.open == {}
    assert history.kept == history.accepted == history.ended
    lost = [each for each in events if isinstance(each, AttemptClosed) and each.outcome == "lost"]
    assert {each.reason for each in lost} == {"lease-ended"}
    assert {NAMES[each.gpu] for each in lost} <= silent


async def check_reads(bootstrap: str) -> None:
    """One ReadUpTo per deciding transaction, and no position ever goes back."""
    records = await read_all(bootstrap, SCHEDULER_READS)
    reads = [ReadUpTo.model_validate_json(record.value or b"") for record in records]
    assert reads
    for earlier, later in itertools.pairwise(reads):
        for topic, offsets in earlier.positions.items():
            assert all(a <= b for a, b in zip(offsets, later.positions[topic], strict=True)), topic


def compare(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> None:
    """All that was published is known again. What no output covers (here perhaps the members) is read anew, and not lost."""
    assert after["jobs"] == before["jobs"]
    assert after["attempts"] == before["attempts"]
    for table in ("gpus", "devices", "gateways", "offers"):
        assert all(row in before[table] for row in after[table])
