"""A database restored from an old dump: refused, then rebuilt by one command; nothing is decided twice (STREAM 13, 14)."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from millpond.events.deadletters import DeadLetterEvent
from millpond.events.envelope import Envelope, encode
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import DECIDED, ITEM, OUTBOX, READ, OutboxNumber, Record
from millpond.stream.recovery.rebuild import TransactionTorn
from millpond.stream.recovery.rebuild_postgres import rebuild_database
from millpond.stream.service import Service
from millpond_cli.letters import letter_event
from stream import operators
from stream.disasters import caught_up, copied, lose_tail, millpond, rows, run_until_caught_up, said
from stream.in_process import running
from stream.operators import OPERATOR, signed
from stream.pairs import PARTITIONS, Half, Paired, paired_topic, pairs
from stream.poisons import drop, put
from stream.tally import drops_topic, levels_topic, tally
from stream.topics_made import FIRST_STAMP_MS, applied_once, create_topics, levels, new_name, produce, rain, read_all
from stream.workers import Workers, wait_until

pytestmark = pytest.mark.long

FALLS = 150
# But for when each was written, which is the database's own.
OUTBOX_ROWS = "SELECT number, topic, partition, key, value, event_type, time_ms, headers FROM outbox ORDER BY number"


@dataclass
class Drops:
    """Every input has an output: what was published says how far each input was read."""

    service: Service[Any]
    kind = "tally"
    tables = ("buckets",)

    async def feed(self, bootstrap: str, phase: int) -> None:
        await produce(bootstrap, self.service.name, rain(FALLS, first=phase * FALLS, seed=phase))

    async def published(self, bootstrap: str) -> list[Record]:
        return await read_all(bootstrap, levels_topic(self.service.name))

    def check(self, published: Iterable[Record], phases: int) -> None:
        """Each bucket has gone through exactly the levels that its drops make, one after the other."""
        found: dict[str, list[tuple[int, int]]] = {}
        for records in applied_once(published).values():
            for level in levels(records):
                found.setdefault(level.bucket, []).append((level.total, level.drops))
        amounts: dict[str, list[int]] = {}
        for phase in range(phases):
            for fall in rain(FALLS, first=phase * FALLS, seed=phase):
                amounts.setdefault(fall.drop.bucket, []).append(fall.drop.amount)
        sums = {bucket: list(itertools.accumulate(each)) for bucket, each in amounts.items()}
        assert found == {bucket: [(total, n) for n, total in enumerate(each, start=1)] for bucket, each in sums.items()}


@dataclass
class Halves:
    """A half that waits for the other has no output: only the inputs know of it, so they are read from the beginning."""

    service: Service[Any]
    kind = "pairs"
    tables = ("pairs",)

    # Left and right halves per phase; at the end of each but the last some are waiting.
    PHASES = ((range(60), range(20, 80)), (range(60, 140), range(10)), (range(140, 150), range(10, 150)))

    async def feed(self, bootstrap: str, phase: int) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True)
        await producer.start()
        try:
            for topic, numbers in zip(self.service.reads, self.PHASES[phase], strict=True):
                for number in numbers:
                    pair, stamp_ms = f"pair-{number}", FIRST_STAMP_MS + number
                    item = f"{topic.name}-{pair}"
                    headers = [
                        *encode(Envelope(item, Half.type_name, "/millpond/splitter", ce_time(stamp_ms))),
                        (ITEM, item.encode()),
                    ]
                    partition = partition_of(pair.encode(), PARTITIONS)
                    value = Half(pair=pair, worth=self._worth(topic.name, number)).to_bytes()
                    await producer.send(
                        topic.name, value, pair.encode(), partition, timestamp_ms=stamp_ms, headers=headers
                    )
            await producer.flush()
        finally:
            await producer.stop()

    def _worth(self, topic: str, number: int) -> int:
        return number * 2 + (topic == self.service.reads[1].name)

    async def published(self, bootstrap: str) -> list[Record]:
        return await read_all(bootstrap, paired_topic(self.service.name))

    def check(self, published: Iterable[Record], phases: int) -> None:
        """Each pair whose halves have both come, once."""
        found = sorted(
            (event.pair, event.left, event.right)
            for records in applied_once(published).values()
            for event in [Paired.model_validate_json(record.value or b"") for record in records]
        )
        left, right = ({n for phase in self.PHASES[:phases] for n in phase[side]} for side in (0, 1))
        assert found == sorted((f"pair-{n}", n * 2, n * 2 + 1) for n in left & right)


Case = Drops | Halves


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
@pytest.mark.parametrize("kind", ["tally", "pairs"])
async def test_a_database_restored_from_an_old_dump_is_rebuilt_from_the_topics_and_nothing_published_differs(
    kind: str, shape: str, kafka_bootstrap: str, database: str, workers: Workers
) -> None:
    name = new_name(kind)
    case: Case = Drops(tally(name, shape)) if kind == "tally" else Halves(pairs(name, shape))
    environment = {"SERVICE_KIND": kind, "TALLY_NAME": name, "TALLY_SHAPE": shape}
    await create_topics(kafka_bootstrap, case.service)
    await case.feed(kafka_bootstrap, 0)
    await run_until_caught_up(kafka_bootstrap, database, case.service)
    with copied(database) as old:
        await case.feed(kafka_bootstrap, 1)
        await run_until_caught_up(kafka_bootstrap, database, case.service)
        published = await case.published(kafka_bootstrap)
        case.check(published, phases=2)

        refused = workers.start(name, shape, "stream.pairs", SERVICE_KIND=kind, MILLPOND_POSTGRES_DSN=old)
        assert refused.process.wait(30) == 1, refused.log_tail()
        assert f"Run: millpond rebuild {name}" in refused.log_text()

        command = ("rebuild", name, "--build", "stream.pairs:build")
        rebuilt = await millpond(*command, bootstrap=kafka_bootstrap, dsn=old, **environment)
        assert rebuilt.exit_code == 0, said(rebuilt)
        assert f"kept as {name}_before_" in said(rebuilt)
        # The database that was never lost is the measure.
        for query in (
            OUTBOX_ROWS,
            "SELECT * FROM relay_progress WHERE last_number > 0 ORDER BY 1, 2",
            "SELECT * FROM relay_mark",
            "SELECT * FROM timers ORDER BY 1, 2, 3",
        ):
            assert await rows(old, name, query) == await rows(database, name, query)
        # The next number follows the highest on the log.
        assert await rows(old, name, "SELECT last_value FROM outbox_number_seq") == [(len(published),)]
        if kind == "tally":
            await _knows_all_that_the_lost_one_knew(case, old, database)
        assert await case.published(kafka_bootstrap) == published

        again = await millpond(*command, bootstrap=kafka_bootstrap, dsn=old, **environment)
        assert again.exit_code == 1
        assert "nothing to rebuild" in said(again)

        await case.feed(kafka_bootstrap, 2)
        await run_until_caught_up(kafka_bootstrap, old, case.service)
        after = await case.published(kafka_bootstrap)
        by_place = {record.place: [r for r in after if r.place == record.place] for record in after}
        for place, records in by_place.items():
            before = [record for record in published if record.place == place]
            assert records[: len(before)] == before
        case.check(after, phases=3)
        numbers = await rows(old, name, "SELECT number FROM outbox ORDER BY number")
        assert len(numbers) == len({number for (number,) in numbers}) == len(after)


async def _knows_all_that_the_lost_one_knew(case: Case, rebuilt: str, lost: str) -> None:
    topics = [topic.name for topic in case.service.reads]
    for query in (
        "SELECT * FROM positions WHERE topic = ANY($1) ORDER BY 1, 2",
        "SELECT * FROM items WHERE topic = ANY($1) ORDER BY 1, 2",
        *(f"SELECT * FROM {table} WHERE $1::text[] IS NOT NULL ORDER BY 1" for table in case.tables),
    ):
        found = await rows(rebuilt, case.service.name, query, topics)
        assert found
        assert found == await rows(lost, case.service.name, query, topics), query


def neighbour_of(name: str) -> str:
    """Another service, whose commands stand on the same partition."""
    partition = partition_of(name.encode(), OPERATOR_COMMANDS.partitions)
    others = (f"{name}_{n}" for n in range(1_000))
    return next(other for other in others if partition_of(other.encode(), OPERATOR_COMMANDS.partitions) == partition)


async def test_what_was_skipped_and_readmitted_by_command_is_known_again_and_not_done_again(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    narrow = tally(name, reads=(drops_topic(name, value_bytes_max=100),))
    wide = tally(name)
    topic, letters = wide.reads[0].name, wide.dead_letters.name
    await create_topics(kafka_bootstrap, wide)
    large = drop("large", bucket="b" * 100)
    await put(kafka_bootstrap, topic, [drop("a"), large, drop("a", amount=7), replace(large, value=None), drop("z")])

    async def told(count: int) -> list[DeadLetterEvent]:
        async def enough() -> bool:
            return len(await read_all(kafka_bootstrap, letters)) >= count

        await wait_until(enough, 40)
        found = map(letter_event, await read_all(kafka_bootstrap, letters))
        return sorted((event for event in found if event is not None), key=lambda event: event.offset)

    async with running(narrow, kafka_bootstrap, database, operators=(OPERATOR,)):
        (too_large,) = await told(1)
        # The same nonces of the same signer, on the same partition, but another service's business.
        foreign = too_large.model_copy(update={"service": neighbour_of(name)})
        await operators.publish(kafka_bootstrap, *(signed(operators.skip(foreign, nonce)) for nonce in (1, 4)))
        first_skip = signed(operators.skip(too_large, 1))
        await operators.publish(kafka_bootstrap, first_skip)
        # Behind it an item with other bytes goes aside, and the next poison stops the partition.
        no_value = (await told(4))[-1]
        await operators.publish(kafka_bootstrap, signed(operators.skip(no_value, 2)))
        await told(5)
    async with running(wide, kafka_bootstrap, database, operators=(OPERATOR,)):
        # One can be read now; the other still can't, and goes aside.
        await operators.publish(
            kafka_bootstrap, *(signed(operators.readmit(event, 3 + n)) for n, event in enumerate((too_large, no_value)))
        )
        await told(8)
        await wait_until(lambda: caught_up(kafka_bootstrap, database, wide), 40)
    before = await read_all(kafka_bootstrap, letters)
    log = KafkaLog({"bootstrap_servers": kafka_bootstrap})
    queries = (
        "SELECT * FROM dead_letters ORDER BY 1, 2, 3",
        "SELECT * FROM operator_nonces ORDER BY 1, 2, 3",
        f"SELECT * FROM items WHERE topic = '{topic}' OR identity LIKE '%/{name}/%' ORDER BY 1, 2",
        "SELECT * FROM buckets ORDER BY 1",
        f"SELECT * FROM positions WHERE topic = '{topic}' AND next_offset > 0 ORDER BY 1, 2",
        OUTBOX_ROWS,
    )
    with copied(database) as lost:
        # No backup at all: there is a log, and nothing else.
        await rows(lost, name, f"DROP SCHEMA {name} CASCADE")
        replaced = await rebuild_database(wide, lost, log, now=datetime.now(UTC))
        assert replaced.kept_as is None
        for query in queries:
            found = await rows(lost, name, query)
            assert found, query
            assert found == await rows(database, name, query), query
        async with running(wide, kafka_bootstrap, lost, operators=(OPERATOR,)):
            await operators.publish(kafka_bootstrap, first_skip)
            await produce(kafka_bootstrap, name, rain(20))
            await wait_until(
                lambda: caught_up(kafka_bootstrap, lost, replace(wide, reads=(*wide.reads, OPERATOR_COMMANDS))), 40
            )
    assert await read_all(kafka_bootstrap, letters) == before


async def test_what_was_decided_at_once_and_published_in_part_is_not_passed_in_silence(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service, topic, log = tally(name), levels_topic(name), KafkaLog({"bootstrap_servers": kafka_bootstrap})
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(FALLS, spread=True))
    await run_until_caught_up(kafka_bootstrap, database, service)
    whole = await read_all(kafka_bootstrap, topic)
    # Database and relay died at once: the last record of one partition, decided together with others, was never sent.
    numbers = {OutboxNumber.from_header(record.header(OUTBOX) or b"").number: record for record in whole}
    last = {record.partition: number for number, record in sorted(numbers.items())}
    torn = next(number for number in sorted(last.values(), reverse=True) if numbers[number].header(DECIDED))
    await lose_tail(kafka_bootstrap, topic, whole, lambda record: record != numbers[torn])
    await rows(database, name, f"DROP SCHEMA {name} CASCADE")

    with pytest.raises(TransactionTorn, match="1 beside numbers"):
        await rebuild_database(service, database, log, now=datetime.now(UTC))
    assert not await rows(database, name, f"SELECT WHERE to_regnamespace('{name}') IS NOT NULL")

    replaced = await rebuild_database(service, database, log, now=datetime.now(UTC), anyway=True)
    (tear,) = replaced.rebuilt.torn
    assert tear.missing == 1
    assert numbers[tear.first].header(READ) == numbers[torn].header(READ)
