"""A worker frozen past its session has lost its partitions: awake again it commits nothing, and blocks nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stream.staged_tally import REACHED, staged_tally
from stream.tables import drops_counted, settled, signatures
from stream.topics_made import applied_once, create_topics, levels, new_name, produce, rain, read_all
from stream.workers import Worker, Workers, wait_until

pytestmark = pytest.mark.long

SESSION_MS = 1_000
# Long enough that the locks come free first: what is measured is the wait for them, without the group's own pause.
LONGER_SESSION_MS = 3_000
# A frozen one's locks last until the server ends its transaction, after 1.5 s.
BLOCKED_S_MAX = 2.0
WITHIN_S = 120.0


async def _tally(bootstrap: str) -> str:
    name = new_name()
    await create_topics(bootstrap, staged_tally(name))
    return name


def _start(workers: Workers, name: str, **environment: str) -> Worker:
    """Without a memory for items: what is counted twice shows."""
    orders = {"STAGE_SESSION_MS": str(SESSION_MS), "STAGE_FORGETFUL": "yes", **environment}
    return workers.start(name, program="stream.staged_tally", **orders)


async def _each_drop_told_once(bootstrap: str, name: str, drops: int) -> None:
    told = applied_once(await read_all(bootstrap, staged_tally(name).writes[0]))
    counts: dict[str, list[int]] = {}
    for records in told.values():
        for level in levels(records):
            counts.setdefault(level.bucket, []).append(level.drops)
    assert all(count == list(range(1, len(count) + 1)) for count in counts.values())
    assert sum(map(len, counts.values())) == drops


async def test_a_worker_frozen_with_a_batch_in_its_hand_wakes_and_commits_nothing_of_it(
    impatient_kafka: str, database: str, impatient_workers: Workers, tmp_path: Path
) -> None:
    name, pause = await _tally(impatient_kafka), tmp_path / "pause"
    await produce(impatient_kafka, name, rain(200))
    frozen = _start(impatient_workers, name, STAGE_WAIT=f"planned:{pause}")
    await wait_until(lambda: settled(database, name, 200), WITHIN_S)

    pause.touch()
    await produce(impatient_kafka, name, rain(200, first=200))
    await wait_until(lambda: pause.read_text() == REACHED, WITHIN_S)
    frozen.freeze()
    heir = _start(impatient_workers, name)
    await wait_until(lambda: settled(database, name, 400), WITHIN_S)
    committed = await signatures(database, name, frozen.pid)
    pause.unlink()
    frozen.thaw()
    await wait_until(lambda: "position_moved" in frozen.log_text(), WITHIN_S)
    assert await signatures(database, name, frozen.pid) == committed

    # It is a member again, and useful.
    await produce(impatient_kafka, name, rain(200, first=400))
    await wait_until(lambda: settled(database, name, 600), WITHIN_S)
    heir.terminate()
    await produce(impatient_kafka, name, rain(200, first=600))
    await wait_until(lambda: settled(database, name, 800), WITHIN_S)
    frozen.terminate()
    await _each_drop_told_once(impatient_kafka, name, 800)


@pytest.mark.parametrize("point", ["moved", "locked", "decided"])
async def test_a_worker_frozen_in_its_transaction_blocks_nobody_for_2_s(
    impatient_kafka: str, database: str, impatient_workers: Workers, tmp_path: Path, point: str
) -> None:
    """``moved`` holds the partition's position, ``locked`` a bucket that the others need, ``decided`` the outbox."""
    name, pause = await _tally(impatient_kafka), tmp_path / "pause"
    # One bucket, its drops on every partition: whoever holds it, or the outbox, is in everybody's way.
    await produce(impatient_kafka, name, rain(40, buckets=1, spread=True))
    session = {"STAGE_SESSION_MS": str(LONGER_SESSION_MS)}
    frozen = _start(impatient_workers, name, STAGE_WAIT=f"{point}:{pause}", **session)
    heir = _start(impatient_workers, name, **session)
    await wait_until(lambda: settled(database, name, 40), WITHIN_S)
    await wait_until(lambda: _both_read(impatient_workers), WITHIN_S)

    pause.touch()
    more = asyncio.create_task(_steadily(impatient_kafka, name, first=40, count=300, every_s=0.02))
    await wait_until(lambda: pause.read_text() == REACHED, WITHIN_S)
    frozen.freeze()
    committed = await signatures(database, name, frozen.pid)
    pauses = await _pauses(lambda: drops_counted(database, name), more)
    print(f"longest pause {max(pauses):.2f} s")
    assert max(pauses) < BLOCKED_S_MAX, pauses
    # Its own partitions have gone to the other one, whatever it held.
    await wait_until(lambda: settled(database, name, 340), WITHIN_S)
    pause.unlink()
    frozen.thaw()
    await wait_until(lambda: '"away"' in frozen.log_text(), WITHIN_S)
    assert await signatures(database, name, frozen.pid) == committed

    await produce(impatient_kafka, name, rain(40, buckets=1, spread=True, first=340))
    await wait_until(lambda: settled(database, name, 380), WITHIN_S)
    frozen.terminate()
    heir.terminate()
    await _each_drop_told_once(impatient_kafka, name, 380)


async def _both_read(workers: Workers) -> bool:
    """Whether each of the two has been given partitions of the drops."""
    assigned = [worker.log_text().rpartition("Setting newly assigned")[2] for worker in workers.all]
    return all("drops.v1', partition=" in text for text in assigned)


async def _steadily(bootstrap: str, name: str, *, first: int, count: int, every_s: float) -> None:
    for number in range(first, first + count, 10):
        await produce(bootstrap, name, rain(10, buckets=1, spread=True, first=number))
        await asyncio.sleep(every_s * 10)


async def _pauses(counted: Callable[[], Awaitable[int]], producing: asyncio.Task[None]) -> list[float]:
    """While drops fall: the seconds between two moments at which more of them were counted than before."""
    pauses, last, since_s = [0.0], await counted(), time.monotonic()
    while not producing.done():
        await asyncio.sleep(0.02)
        now = await counted()
        if now > last:
            pauses.append(time.monotonic() - since_s)
            last, since_s = now, time.monotonic()
    await producing
    return [*pauses, time.monotonic() - since_s]
