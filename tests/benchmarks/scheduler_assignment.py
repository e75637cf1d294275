"""Milliseconds from a gateway's job on its topic to its assignment at a reader, at 500 a second, through the whole scheduler.

Beside it, what plain aiokafka takes for the same way: produce, consume, produce, consume, with nothing in between.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.bench_stack import GIVE_UP_S, program
from benchmarks.figure import Benchmark, Run
from millpond.events.envelope import CE_TYPE
from millpond.events.scheduler_assignments import JobAssigned
from millpond.events.topic import Topic
from millpond.events.topics import SCHEDULER_ASSIGNMENTS
from millpond.localstack import LocalStack
from millpond_scheduler.app import scheduler
from scheduler.samples import POOL, gateway, gpu, job, joined, requested, succeeded, terms
from scheduler.wire import Others
from stream.topics_made import create_topics, make_topics

RATE = 500
WARM_UP_S, MEASURED_S = 2, 8
JOBS = RATE * (WARM_UP_S + MEASURED_S)
GPUS, SLOTS = 200, 4
BATCH_RECORDS_MAX = 500
LOCAL = Path(__file__).parents[2] / ".local"
PLAIN_IN, PLAIN_OUT = (Topic(f"plain.{name}.v1", "n", 12, "bench", (), None) for name in ("in", "out"))


def run(stack: LocalStack) -> Run:
    # A stack of its own: the scheduler's topics have one writer, and other benchmarks play that, too.
    with LocalStack(LOCAL / "bench-scheduler", ("kafka", "postgres")) as own:
        measured = asyncio.run(_run(own))
    own.discard()
    return measured


async def _run(stack: LocalStack) -> Run:
    servers = stack.kafka.bootstrap_servers
    await create_topics(servers, scheduler(POOL))
    await make_topics(servers, (PLAIN_IN, PLAIN_OUT))
    plain_ms = await _plain(servers)
    pool = {"MILLPOND_POOL_ID": POOL}
    with program("millpond_scheduler", "scheduler", stack.postgres.dsn(), stack, BATCH_RECORDS_MAX, **pool):
        return Run(_p99(await _scheduled(servers)), _p99(plain_ms))


def _p99(milliseconds: list[float]) -> float:
    return statistics.quantiles(milliseconds, n=100)[98]


async def _scheduled(servers: str) -> list[float]:
    names = {gpu(f"g{n}"): f"g{n}" for n in range(GPUS)}
    numbers = {job(f"j{n}"): n for n in range(JOBS)}
    consumer = AIOKafkaConsumer(
        SCHEDULER_ASSIGNMENTS.name, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    await consumer.start()
    try:
        async with Others(servers) as others:
            await others.say(
                terms(), gateway(), *(event for name in names.values() for event in joined(name, slots=SLOTS))
            )
            await others.say(requested("first", deadline_s=600))
            sent_ms: dict[int, float] = {}
            arrived_ms: dict[int, float] = {}
            sending: asyncio.Task[None] | None = None
            give_up_s = time.monotonic() + GIVE_UP_S
            while len(arrived_ms) < JOBS:
                assert time.monotonic() < give_up_s, f"{len(arrived_ms)} of {JOBS} jobs were assigned"
                for records in (await consumer.getmany(timeout_ms=1_000)).values():
                    now_ms = time.time_ns() / 1_000_000
                    for record in records:
                        if dict(record.headers)[CE_TYPE] != b"JobAssigned":
                            continue
                        assigned = JobAssigned.model_validate_json(record.value)
                        await others.send(succeeded(assigned, names[assigned.gpu]))
                        if assigned.job in numbers:
                            arrived_ms[numbers[assigned.job]] = now_ms
                        elif sending is None:
                            # The scheduler is up and has read who is there: now it is measured.
                            sending = asyncio.create_task(_paced(lambda n: others.send(requested(f"j{n}")), sent_ms))
            assert sending is not None
            await sending
    finally:
        await consumer.stop()
    return [arrived_ms[n] - sent_ms[n] for n in range(RATE * WARM_UP_S, JOBS)]


async def _plain(servers: str) -> list[float]:
    producer = AIOKafkaProducer(bootstrap_servers=servers, enable_idempotence=True)
    reading, answering = (
        AIOKafkaConsumer(topic.name, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20)
        for topic in (PLAIN_OUT, PLAIN_IN)
    )
    for client in (producer, reading, answering):
        await client.start()

    async def answer() -> None:
        async for record in answering:
            await producer.send(PLAIN_OUT.name, record.value, partition=record.partition)

    sent_ms: dict[int, float] = {}
    arrived_ms: dict[int, float] = {}
    partitions = itertools.cycle(range(PLAIN_IN.partitions))
    answers = asyncio.create_task(answer())
    sending = asyncio.create_task(
        _paced(lambda n: producer.send(PLAIN_IN.name, str(n).encode(), partition=next(partitions)), sent_ms)
    )
    try:
        while len(arrived_ms) < JOBS:
            for records in (await reading.getmany(timeout_ms=1_000)).values():
                now_ms = time.time_ns() / 1_000_000
                arrived_ms |= {int(record.value): now_ms for record in records}
        await sending
    finally:
        answers.cancel()
        for client in (producer, reading, answering):
            await client.stop()
    return [arrived_ms[n] - sent_ms[n] for n in range(RATE * WARM_UP_S, JOBS)]


async def _paced(send: Callable[[int], object], sent_ms: dict[int, float]) -> None:
    start_s = time.monotonic()
    for n in range(JOBS):
        sent_ms[n] = time.time_ns() / 1_000_000
        await send(n)  # type: ignore[misc]
        await asyncio.sleep(max(0.0, start_s + (n + 1) / RATE - time.monotonic()))


ASSIGNMENT_P99 = Benchmark("scheduler.assignment_p99", "ms", 25.0, "less", run, runs=3, judged="value")
