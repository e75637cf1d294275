"""However often its processes are killed, a service ends where an undisturbed one ends, byte for byte."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from stream.staged_tally import POINTS, staged_tally
from stream.tables import buckets, settled
from stream.topics_made import Fall, applied_once, create_topics, new_name, produce, rain, read_all, with_repeats
from stream.workers import Worker, Workers, wait_until

pytestmark = pytest.mark.long

# `make campaign` sets both; what the suite runs is a short form of it.
SEED = int(os.environ.get("SEED", "929"))
KILLS = int(os.environ.get("KILLS", "30"))

WORKERS = 2
SESSION_MS = 1_000
FALLS_AT_ONCE = 40
FALL_EVERY_S = 0.1
REPEATED = 0.1
# Whoever has not come to its point by then (another has the relay's lease) is killed wherever it is.
LIFE_S_MAX = 4.0
SETTLED_WITHIN_S = 60.0


@dataclass
class Doomed:
    """A worker and its end: at a point, or at a moment."""

    worker: Worker
    fate: str
    until_s: float


class Storm:
    """Keeps two workers at work, and kills them: at seeded moments, and at seeded points of their transactions."""

    def __init__(self, workers: Workers, name: str, seed: int) -> None:
        self._workers = workers
        self._name = name
        self._chance = random.Random(seed)
        self.killed: Counter[str] = Counter()

    async def rage(self, kills: int) -> None:
        alive: list[Doomed] = []
        while self.killed.total() < kills:
            alive += [self._start() for _ in range(WORKERS - len(alive))]
            for doomed in alive:
                if time.monotonic() > doomed.until_s:
                    doomed.worker.kill()
                if not doomed.worker.running:
                    self._count(doomed)
            alive = [doomed for doomed in alive if doomed.worker.running]
            await asyncio.sleep(0.02)
        for doomed in alive:
            doomed.worker.kill()

    def _start(self) -> Doomed:
        fate = self._chance.choice([*POINTS, "committed", *["a moment"] * 3])
        life_s = self._chance.uniform(1.2, LIFE_S_MAX) if fate == "a moment" else LIFE_S_MAX
        orders = {} if fate == "a moment" else {"STAGE_DIE": f"{fate}:{self._chance.randrange(1, 7)}"}
        worker = self._workers.start(
            self._name, program="stream.staged_tally", STAGE_SESSION_MS=str(SESSION_MS), **orders
        )
        return Doomed(worker, fate, time.monotonic() + life_s)

    def _count(self, doomed: Doomed) -> None:
        assert doomed.worker.process.returncode == -signal.SIGKILL, doomed.worker.log_tail()
        late = time.monotonic() > doomed.until_s
        self.killed["a moment" if late else doomed.fate] += 1


async def test_kills_leave_the_same_state_and_the_same_output_as_none(
    impatient_kafka: str, database: str, impatient_workers: Workers
) -> None:
    print(f"SEED={SEED} KILLS={KILLS}")
    name, undisturbed = new_name(), new_name("undisturbed")
    for each in (name, undisturbed):
        await create_topics(impatient_kafka, staged_tally(each))
    storm = Storm(impatient_workers, name, SEED)
    raging = asyncio.create_task(storm.rage(KILLS))
    fallen = await _let_it_rain(impatient_kafka, name, raging)
    print(f"{len(fallen)} drops, killed at: {dict(storm.killed)}")

    await _finish(database, name, impatient_workers, fallen, WORKERS)
    await produce(impatient_kafka, undisturbed, fallen)
    await _finish(database, undisturbed, impatient_workers, fallen, 1)

    assert await buckets(database, name) == await buckets(database, undisturbed)
    outputs = {
        each: applied_once(await read_all(impatient_kafka, staged_tally(each).writes[0]))
        for each in (name, undisturbed)
    }
    told = {
        each: {n: [(record.key, record.value) for record in records] for n, records in output.items()}
        for each, output in outputs.items()
    }
    assert told[name] == told[undisturbed]


async def _let_it_rain(bootstrap: str, name: str, raging: asyncio.Task[None]) -> list[Fall]:
    """Drops fall for as long as the storm rages, some of them twice; so do those who come last."""
    fallen: list[Fall] = []
    first = 0
    while not raging.done():
        shower = with_repeats(rain(FALLS_AT_ONCE, seed=SEED + first, first=first), share=REPEATED, seed=SEED + first)
        if fallen:
            shower.append(random.Random(SEED + first).choice(fallen))
        await produce(bootstrap, name, shower)
        fallen += shower
        first += FALLS_AT_ONCE
        await asyncio.sleep(FALL_EVERY_S)
    await raging
    return fallen


async def _finish(dsn: str, name: str, workers: Workers, fallen: list[Fall], count: int) -> None:
    last = [workers.start(name, program="stream.staged_tally", STAGE_SESSION_MS=str(SESSION_MS)) for _ in range(count)]
    items = len({fall.item for fall in fallen})
    await wait_until(lambda: settled(dsn, name, items), SETTLED_WITHIN_S)
    for worker in last:
        worker.terminate()
