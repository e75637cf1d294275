"""Milliseconds from a record's acknowledgement on the input topic to its output's arrival at a reader, at 500 a second."""

from __future__ import annotations

import asyncio
import statistics
import time

from aiokafka import AIOKafkaConsumer

from benchmarks.bench_stack import Farm, prepare, program, wait_for_end
from benchmarks.figure import Benchmark, Run
from millpond.localstack import LocalStack

RATE = 500
WARM_UP_S = 2
MEASURED_S = 8
BATCH_RECORDS_MAX = 500


def run(stack: LocalStack) -> Run:
    return asyncio.run(_run(stack))


async def _run(stack: LocalStack) -> Run:
    name, dsn = await prepare(stack)
    servers = stack.kafka.bootstrap_servers
    consumer = AIOKafkaConsumer(
        f"{name}.flour.v1", bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=20
    )
    farm = Farm(servers, name)
    await consumer.start()
    await farm.start()
    try:
        with program("benchmarks.mill", name, dsn, stack, BATCH_RECORDS_MAX) as running:
            await farm.send(time.time_ns() // 1_000_000)
            await wait_for_end(consumer, f"{name}.flour.v1", 1, running)
            sending = asyncio.create_task(_send(farm))
            latencies_ms = await _measure(consumer)
            await sending
    finally:
        await farm.stop()
        await consumer.stop()
    return Run(statistics.quantiles(latencies_ms, n=100)[98])


async def _send(farm: Farm) -> None:
    start_s = time.monotonic()
    for n in range(RATE * (WARM_UP_S + MEASURED_S)):
        # The record's timestamp is the moment of sending; the output carries its cause's on.
        await farm.send(time.time_ns() // 1_000_000)
        await asyncio.sleep(max(0.0, start_s + (n + 1) / RATE - time.monotonic()))


async def _measure(consumer: AIOKafkaConsumer) -> list[float]:
    latencies_ms: list[float] = []
    seen, wanted = 0, RATE * (WARM_UP_S + MEASURED_S) + 1
    while seen < wanted:
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            now_ms = time.time_ns() / 1_000_000
            seen += len(records)
            if seen > RATE * WARM_UP_S:
                latencies_ms += [now_ms - record.timestamp for record in records]
    return latencies_ms


LATENCY = Benchmark("stream.latency_p99", "ms", 25.0, "less", run, runs=3)
