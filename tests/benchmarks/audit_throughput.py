"""Usage lines per second through the audit: read from Kafka, hashed, folded, compared with what was published.

Level 1 over one epoch of a thousand contributors, in as many processes as there are cores. The baseline is the same records
from memory through the same fold on one core: what the rules alone would take. Levels 2 and 3 are printed beside it.
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from aiokafka import AIOKafkaProducer

from audit.topics import FINDINGS, Pond, offered, outbound
from benchmarks.bench_stack import made_anew
from benchmarks.figure import Benchmark, Run
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.topics import METERING_USAGE
from millpond.localstack import LocalStack
from millpond.stream.outlet import partition_of
from millpond.stream.record import OUTBOX, OutboxNumber, Place, Record
from millpond_cli.audit.export import WHOLE
from millpond_cli.audit.logs import of_kafka
from millpond_cli.audit.run import Plan, run_audit
from millpond_rewards.rules import LineFold, PlaceTally, fold_records
from rewards.story import contributor, line, ticket

LINES = 120_000
CONTRIBUTORS = 1_000
DECIDED_AGAIN = 500
QUEUED_MAX = 20_000
# Every topic that an audit reads; a broker takes its time over two hundred partitions.
AUDITED = (*WHOLE, METERING_USAGE, *FINDINGS)


def run(stack: LocalStack) -> Run:
    epoch = Epoch()
    asyncio.run(_fill(stack, epoch.records()))
    baseline = epoch.folded_alone()
    value = _lines_a_second(stack, levels=1)
    print(f"  level 1: {value:,.0f} lines/s; {_memory_mib():,.0f} MiB in the largest of its processes")
    pond = Pond().begin()
    for number in range(DECIDED_AGAIN):
        pond.work(contributor(number % 50), f"j{number}")
    pond.tell(ticket(10**18, number=1)).close()
    asyncio.run(_fill(stack, records_of(pond)))
    all_levels = _lines_a_second(stack, levels=3)
    # So few that most of it is what each range of each partition takes to be asked for.
    print(f"  levels 1 to 3: {all_levels:,.0f} lines/s, of {DECIDED_AGAIN:,} lines")
    return Run(value, baseline)


def _lines_a_second(stack: LocalStack, *, levels: int) -> float:
    open_log = partial(of_kafka, {"bootstrap_servers": stack.kafka.bootstrap_servers})
    started_s = time.perf_counter()
    audited = run_audit(open_log, Plan("the benchmark", levels=levels))
    seconds = time.perf_counter() - started_s
    return sum(head.size for closed in audited.closed for head in closed.lines) / seconds


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


class Epoch:
    """One epoch of many lines: rewards closes it; its lines are bytes with another id each, which only level 2 would read."""

    def __init__(self) -> None:
        templates = [line(contributor(n), 1_000 + n, number=n, wei=1_200, per_units=1_000) for n in range(CONTRIBUTORS)]
        self._lines: dict[Place, list[Record]] = {}
        numbers = 0
        for number in range(LINES):
            each = templates[number % CONTRIBUTORS]
            numbers += 1
            self._append(each, numbers)
        self._story = self._closed(numbers)

    def _append(self, each: UsageRecorded | UsageHeld, number: int) -> None:
        key = each.contributor.encode()
        place = Place(METERING_USAGE.name, partition_of(key, METERING_USAGE.partitions))
        records = self._lines.setdefault(place, [])
        previous = 0 if not records else OutboxNumber.from_header(records[-1].header(OUTBOX) or b"").number
        headers = (
            ("ce_specversion", b"1.0"),
            ("ce_id", b"metering/1/%d" % number),
            ("ce_type", each.type_name.encode()),
            ("ce_source", b"/millpond/metering"),
            ("ce_time", b"2026-01-02T03:04:05.678Z"),
            (OUTBOX, OutboxNumber("metering", number, previous).to_header()),
        )
        value = each.to_bytes().replace(each.line.encode(), b"%036d" % number, 1)
        records.append(Record(*place, len(records), key, value, headers, 1_767_225_600_000))

    def _closed(self, numbers: int) -> Pond:
        pond = Pond(published=offered()).begin().tell(ticket(10**21, number=1))
        tallies, folds = dict(pond.state.tallies), list(pond.state.lines)
        for place, records in self._lines.items():
            fold = LineFold()
            tallies[place] = fold_records(PlaceTally(), fold, records)
            folds[place.partition] = fold
            pond.logs[place] = list(records)
            number = OutboxNumber.from_header(records[-1].header(OUTBOX) or b"").number
            pond.previous["metering", place] = number
        pond.numbers["metering"] = numbers
        pond.state = replace(pond.state, tallies=tallies, lines=tuple(folds))
        pond.close()
        return pond

    def records(self) -> Iterator[Record]:
        return records_of(self._story)

    def folded_alone(self) -> float:
        started_s = time.perf_counter()
        for records in self._lines.values():
            fold_records(PlaceTally(), LineFold(), records)
        return LINES / (time.perf_counter() - started_s)


def records_of(pond: Pond) -> Iterator[Record]:
    """With the headers that their writers give."""
    for records in pond.places().values():
        for record in records:
            yield record._replace(headers=outbound(record).headers)


async def _fill(stack: LocalStack, records: Iterator[Record]) -> None:
    await made_anew(stack, AUDITED)
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka.bootstrap_servers, linger_ms=5, max_batch_size=262_144)
    await producer.start()
    try:
        for number, record in enumerate(records, 1):
            where = (record.partition, record.timestamp_ms, list(record.headers))
            await producer.send(record.topic, record.value, record.key, *where)
            if number % QUEUED_MAX == 0:
                await producer.flush()
        await producer.flush()
    finally:
        await producer.stop()


AUDIT = Benchmark("audit.throughput", "lines/s", 150_000, "more", run, runs=1, judged="value")
