"""Being the one: on a clock set by hand."""

from __future__ import annotations

import asyncio

import pytest

from millpond.stream import leadership as module
from millpond.stream.database import Database, DatabaseAway, Lease, LeaseLost
from millpond.stream.leadership import Leadership, LeaseTiming
from millpond.stream.memory.database import MemoryDatabase
from stream.memory_service import until

TIMING = LeaseTiming(lease_s=2.5, renew_every_s=0.002)


class Clock:
    now_s = 100.0

    def read(self) -> float:
        return self.now_s


class Worker:
    """Works until told otherwise; remembers under which leases."""

    def __init__(self, database: Database, owner: str, clock: Clock) -> None:
        self.leadership = Leadership(database, "active", owner, TIMING, clock.read)
        self.leases: list[Lease] = []
        self.working = False
        self.fails: Exception | None = None

    async def work(self, lease: Lease) -> None:
        self.leases.append(lease)
        self.working = True
        try:
            while True:
                if self.fails is not None:
                    failure, self.fails = self.fails, None
                    raise failure
                await asyncio.sleep(0.001)
        finally:
            self.working = False


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STANDBY_LOOK_S", 0.001)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(clock: Clock) -> MemoryDatabase:
    return MemoryDatabase(clock.read)


async def lead(worker: Worker) -> tuple[asyncio.Task[None], asyncio.Event]:
    stopping = asyncio.Event()
    return asyncio.create_task(worker.leadership.lead(worker.work, stopping)), stopping


async def test_of_two_one_works_and_the_other_waits(database: MemoryDatabase, clock: Clock) -> None:
    one, two = Worker(database, "one", clock), Worker(database, "two", clock)
    first, _ = await lead(one)
    await until(lambda: one.working)
    second, _ = await lead(two)
    for _ in range(5):
        clock.now_s += 2.0
        await asyncio.sleep(0.01)
    assert one.working
    assert not two.leases
    assert two.leadership.held is None
    assert two.leadership.looked_at_s == clock.now_s
    # Cut off in the middle, it lets go, and the other needn't wait for the lease to run out.
    first.cancel()
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert not one.working


async def test_a_silent_holder_is_succeeded_and_stops_working(database: MemoryDatabase, clock: Clock) -> None:
    one, two = Worker(database, "one", clock), Worker(database, "two", clock)
    first, _ = await lead(one)
    await until(lambda: one.working)
    # Frozen: it neither renews nor works while the other takes over.
    clock.now_s += 2.6
    taken = await database.try_lease("active", "two", TIMING.lease_s)
    assert taken is not None
    await until(lambda: not one.working)
    assert not first.done()
    await database.release_lease(taken)
    await until(lambda: len(one.leases) == 2)
    assert [lease.epoch for lease in one.leases] == [1, 3]
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not two.leases


async def test_work_that_lost_its_lease_begins_anew_under_the_next(database: MemoryDatabase, clock: Clock) -> None:
    one = Worker(database, "one", clock)
    task, _ = await lead(one)
    await until(lambda: one.working)
    one.fails = LeaseLost(name="active", epoch=1)
    await until(lambda: len(one.leases) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_work_that_finds_the_database_away_begins_anew(database: MemoryDatabase, clock: Clock) -> None:
    one = Worker(database, "one", clock)
    task, _ = await lead(one)
    await until(lambda: one.working)
    one.fails = DatabaseAway(cause="a restart")
    await until(lambda: len(one.leases) == 2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_else_work_raises_comes_out_and_the_lease_is_free(database: MemoryDatabase, clock: Clock) -> None:
    one = Worker(database, "one", clock)
    task, _ = await lead(one)
    await until(lambda: one.working)
    one.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        await task
    assert one.leadership.held is None
    assert await database.try_lease("active", "two", 60) is not None


async def test_work_that_is_done_gives_the_lease_back(database: MemoryDatabase, clock: Clock) -> None:
    stopping = asyncio.Event()

    async def work(lease: Lease) -> None:
        stopping.set()

    leadership = Leadership(database, "active", "one", TIMING, clock.read)
    await asyncio.wait_for(leadership.lead(work, stopping), 10)
    assert await database.try_lease("active", "two", 60) is not None
