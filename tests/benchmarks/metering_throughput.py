"""Results per second through metering: read, joined, verified, counted, countersigned, published.

Each result stands among what the topics hold of a job of two renditions: six records. Two instances for two cores, which
they share with Kafka and PostgreSQL. The baseline is the crypto library alone on the same cores, verifying and nothing else.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from contextlib import ExitStack
from pathlib import Path

import asyncpg
from aiokafka import AIOKafkaConsumer

from benchmarks.bench_stack import LOGS, made_anew, program, wait_for_end
from benchmarks.figure import Benchmark, Run
from metering.samples import POOL, POOL_KEY, Story, finished, signed, story
from metering.topics import Writers
from millpond.events.topics import METERING_USAGE, OPERATOR_COMMANDS
from millpond.localstack import LocalStack
from millpond.proofs import make_receipt_key
from millpond_metering.app import metering

RESULTS = 6_000
TOLD_AT_ONCE = 500
INSTANCES = 2
VERIFY_S = 2.0
# What the product takes at once.
BATCH_RECORDS_MAX = 500
# What ``python -c`` is told: how often a second the library verifies a claim of the usual length.
VERIFY_ALONE = f"""
import time
from nacl.signing import SigningKey
key = SigningKey(b"\\x01" * 32)
message = b"x" * 800
signature, verify = key.sign(message).signature, key.verify_key.verify
verified, end_s = 0, time.monotonic() + {VERIFY_S}
while time.monotonic() < end_s:
    verify(message, signature)
    verified += 1
print(verified / {VERIFY_S})
"""


def run(stack: LocalStack) -> Run:
    baseline = _verified_alone()
    return Run(asyncio.run(_rate(stack)), baseline)


def _verified_alone() -> float:
    """On as many cores as metering has instances, at once."""
    command = [sys.executable, "-c", VERIFY_ALONE]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(INSTANCES)]
    return sum(float(each.communicate()[0]) for each in running)


async def _rate(stack: LocalStack) -> float:
    service = metering(POOL, POOL_KEY)
    await made_anew(stack, (*service.reads, *service.writes, service.dead_letters, OPERATOR_COMMANDS))
    name = f"metering_{uuid.uuid4().hex[:8]}"
    connection = await asyncpg.connect(stack.postgres.dsn())
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()
    await _fill(stack.kafka.bootstrap_servers)
    key_file = LOGS / "receipt.key"
    make_receipt_key(key_file)
    return await _measured(stack, name, key_file)


async def _fill(servers: str) -> None:
    async with Writers(servers) as writers:
        for first in range(0, RESULTS, TOLD_AT_ONCE):
            await writers.tell(*(_story(number) for number in range(first, first + TOLD_AT_ONCE)))
            writers.written.clear()


def _story(number: int) -> Story:
    claim = story(f"job-{number}").result.claim.model_copy(update={"sequence": number + 1})
    told = story(f"job-{number}", result=signed(claim.model_dump_json()))
    return told.but(more=(finished(told.job),))


async def _measured(stack: LocalStack, name: str, key_file: Path) -> float:
    """From the first lines that are seen to the last: starting up is not what is measured."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka.bootstrap_servers)
    await consumer.start()
    settings = {"MILLPOND_POOL_ID": POOL, "MILLPOND_METERING_RECEIPT_KEY_FILE": str(key_file)}
    usage = METERING_USAGE
    try:
        with ExitStack() as instances:
            for _ in range(INSTANCES):
                running = instances.enter_context(
                    program("millpond_metering", name, stack.postgres.dsn(name), stack, BATCH_RECORDS_MAX, **settings)
                )
            first, first_s = await wait_for_end(consumer, usage.name, 1, running, usage.partitions)
            last, last_s = await wait_for_end(consumer, usage.name, RESULTS, running, usage.partitions)
    finally:
        await consumer.stop()
    return (last - first) / (last_s - first_s)


METERING = Benchmark("metering.throughput", "results/s", 10_000, "more", run, runs=3, judged="value")
