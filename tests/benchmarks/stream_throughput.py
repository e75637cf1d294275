"""Records per second through one worker: read, decided, stored, published."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer

from benchmarks.bench_stack import Farm, prepare, program, wait_for_end
from benchmarks.figure import Benchmark, Run
from millpond.localstack import LocalStack

RECORDS = 100_000
START_MS = 1_767_225_600_000
# Both sides take this many at once.
BATCH_RECORDS_MAX = 2_000


def run(stack: LocalStack) -> Run:
    return asyncio.run(_run(stack))


async def _run(stack: LocalStack) -> Run:
    name, dsn = await prepare(stack)
    await _fill(stack.kafka.bootstrap_servers, name)
    baseline = await _rate("benchmarks.plain", f"{name}.plain.v1", name, dsn, stack)
    return Run(await _rate("benchmarks.mill", f"{name}.flour.v1", name, dsn, stack), baseline)


async def _fill(servers: str, name: str) -> None:
    farm = Farm(servers, name)
    await farm.start()
    await asyncio.gather(*[await farm.send(START_MS + n) for n in range(RECORDS)])
    await farm.stop()


async def _rate(module: str, topic: str, name: str, dsn: str, stack: LocalStack) -> float:
    """From the first output that is seen to the last: starting up is not what is measured."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers)
    await consumer.start()
    try:
        with program(module, name, dsn, stack, BATCH_RECORDS_MAX) as running:
            first, first_s = await wait_for_end(consumer, topic, 1, running)
            last, last_s = await wait_for_end(consumer, topic, RECORDS, running)
    finally:
        await consumer.stop()
    return (last - first) / (last_s - first_s)


THROUGHPUT = Benchmark("stream.throughput", "records/s", 0.5, "more", run)
