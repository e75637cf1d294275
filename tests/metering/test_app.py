"""metering on real Kafka and PostgreSQL: stories in, lines out; a restart and a rebuild change nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conftest import OwnStack
from metering.samples import NOW, POOL, POOL_KEY, Story, lines, signed, story
from metering.topics import Writers
from millpond.events.event import Event
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import JOB_PARTITIONS, METERING_USAGE
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.record import Record
from millpond.stream.recovery.rebuild_postgres import rebuild_database
from millpond_metering.app import metering
from millpond_metering.rules.watermarks import JOINED
from stream.disasters import caught_up, rows
from stream.in_process import running
from stream.topics_made import applied_once, create_topics, read_all
from stream.workers import wait_until

pytestmark = pytest.mark.long

SERVICE = metering(POOL, POOL_KEY)
COUNT = 30
WITHIN_S = 120.0


def stories(first: int) -> list[Story]:
    """Each with a claim of its own, as a device numbers them."""
    told = []
    for number in range(first, first + COUNT):
        claim = story(f"job-{number}").result.claim.model_copy(update={"sequence": number + 1})
        told.append(story(f"job-{number}", result=signed(claim.model_dump_json())))
    return told


def by_scheduler(told: Story) -> list[tuple[str, Event]]:
    return [(told.job, told.accepted), (told.job, told.kept)]


def by_others(told: Story) -> list[tuple[str, Event]]:
    return [(told.job, event) for event in (told.result, *told.observations)]


async def published(bootstrap: str) -> list[Record]:
    found = applied_once(await read_all(bootstrap, METERING_USAGE))
    return [record for partition in sorted(found) for record in found[partition]]


async def settled(bootstrap: str, database: str) -> None:
    """Runs one instance until it has decided everything, and no epoch waits for its watermarks."""

    async def is_settled() -> bool:
        if not await caught_up(bootstrap, database, SERVICE):
            return False
        return await rows(database, "metering", "SELECT * FROM timers") == []

    async with running(SERVICE, bootstrap, database):
        await wait_until(is_settled, WITHIN_S)


def is_watermark(record: Record) -> bool:
    return record.header("ce_type") == b"Watermark"


def expected(writers: Writers) -> list[bytes]:
    """What the rules say of what is on the topics, one topic after the other. A repeated record is not one."""
    return sorted(line.to_bytes() for line in lines(sorted(writers.written, key=lambda each: each.topic)))


async def test_each_kept_result_is_one_line_and_a_closed_epoch_one_watermark_a_partition(own_stack: OwnStack) -> None:
    stack = own_stack("kafka", "postgres")
    bootstrap, database = stack.kafka.bootstrap_servers, stack.postgres.dsn()
    await create_topics(bootstrap, SERVICE)
    first, second, third = stories(0), stories(COUNT), stories(2 * COUNT)
    async with Writers(bootstrap) as writers:
        await writers.tell(*first)
        await writers.put_all(event for each in second for event in by_scheduler(each))
        await settled(bootstrap, database)
        assert len(await published(bootstrap)) == COUNT

        # The second half of the second stories, with a repeat at the end that no rule gets to see; and the epoch closes.
        await writers.put_all(event for each in second for event in by_others(each))
        await writers.put(second[-1].job, second[-1].result)
        ends = {topic: writers.ends(topic, JOB_PARTITIONS) for topic in JOINED}
        await writers.put("pond", EpochClosing(epoch=0, ends=ends, as_of=NOW))
        await settled(bootstrap, database)
        found = await published(bootstrap)
        assert len([record for record in found if is_watermark(record)]) == JOB_PARTITIONS * METERING_USAGE.partitions
        for partition in range(METERING_USAGE.partitions):
            kinds = [is_watermark(record) for record in found if record.partition == partition]
            assert kinds == sorted(kinds), "a watermark stands before a line that it covers"
        assert sorted(record.value or b"" for record in found if not is_watermark(record)) == expected(writers)
        assert await rows(database, "metering", "SELECT count(*) FROM waiting") == [(0,)]

        # The database is lost. Nothing is decided again; what comes then is decided as ever.
        await rows(database, "metering", "DROP SCHEMA metering CASCADE")
        log = KafkaLog({"bootstrap_servers": bootstrap})
        await rebuild_database(SERVICE, database, log, now=datetime.now(UTC))
        await settled(bootstrap, database)
        assert await published(bootstrap) == found
        await writers.tell(*third)
        await settled(bootstrap, database)
        after = await published(bootstrap)
        assert len(after) == len(found) + COUNT
        assert sorted(record.value or b"" for record in after if not is_watermark(record)) == expected(writers)
