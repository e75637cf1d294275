"""Incident 58, the stream library's part: a service restored from an old copy must not decide again what is published.

The payouts here are tally's levels: each is decided once, from one drop, and twelve of them are not in the copy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime

import asyncpg
import pytest

from millpond.events.envelope import Envelope, encode
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.log import Outbound
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.record import OUTBOX, OutboxNumber, Place, Record
from millpond.stream.recovery.rebuild_postgres import rebuild_database
from millpond.stream.starting import DatabaseBehind
from stream.disasters import copied, rows, run_until_caught_up
from stream.tally import PARTITIONS, Drop, Level, drops_topic, levels_topic, tally
from stream.topics_made import create_topics, new_name, produce, rain, read_all

KNOWN, UNKNOWN, LATER = 30, 12, 6


def check_each_is_published_once(before: Sequence[Record], after: Sequence[Record], decided: int) -> None:
    """ONCE: every decision stands on the log once, what stood there stands there still, and ids have not changed."""
    assert [record for record in after if record in before] == list(before)
    events = Counter((record.key, record.value) for record in after)
    assert events.total() == len(events) == decided, f"{events.total() - len(events)} were published again"
    assert len({record.header("ce_id") for record in after}) == decided


async def test_a_restored_service_refuses_recognises_what_it_had_published_and_goes_on(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name("payer")
    service, log = tally(name, "single_active"), KafkaLog({"bootstrap_servers": kafka_bootstrap})
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(KNOWN))
    await run_until_caught_up(kafka_bootstrap, database, service)
    with copied(database) as six_hours_old:
        await produce(kafka_bootstrap, name, rain(UNKNOWN, first=KNOWN))
        await run_until_caught_up(kafka_bootstrap, database, service)
        before = await read_all(kafka_bootstrap, levels_topic(name))
        await produce(kafka_bootstrap, name, rain(LATER, first=KNOWN + UNKNOWN))

        with pytest.raises(DatabaseBehind, match=f"millpond rebuild {name}"):
            await run_until_caught_up(kafka_bootstrap, six_hours_old, service)
        assert await read_all(kafka_bootstrap, levels_topic(name)) == before

        await rebuild_database(service, six_hours_old, log, now=datetime.now(UTC))
        await run_until_caught_up(kafka_bootstrap, six_hours_old, service)
        after = await read_all(kafka_bootstrap, levels_topic(name))
        check_each_is_published_once(before, after, KNOWN + UNKNOWN + LATER)
        assert len(await rows(six_hours_old, name, "SELECT FROM outbox")) == KNOWN + UNKNOWN + LATER


async def test_one_that_goes_on_from_the_restored_offsets_publishes_again(kafka_bootstrap: str, database: str) -> None:
    """The double has teeth in it: the same check fails."""
    name = new_name("naive")
    await create_topics(kafka_bootstrap, tally(name))
    await produce(kafka_bootstrap, name, rain(KNOWN))
    await naive_service(kafka_bootstrap, database, name)
    with copied(database) as six_hours_old:
        await produce(kafka_bootstrap, name, rain(UNKNOWN, first=KNOWN))
        await naive_service(kafka_bootstrap, database, name)
        before = await read_all(kafka_bootstrap, levels_topic(name))
        await produce(kafka_bootstrap, name, rain(LATER, first=KNOWN + UNKNOWN))

        await naive_service(kafka_bootstrap, six_hours_old, name)

        after = await read_all(kafka_bootstrap, levels_topic(name))
        with pytest.raises(AssertionError, match=f"{UNKNOWN} were published again"):
            check_each_is_published_once(before, after, KNOWN + UNKNOWN + LATER)


async def naive_service(bootstrap: str, dsn: str, name: str) -> None:
    """Reads on from the offsets in its database, decides, publishes, stores: right, as long as the two belong together."""
    connection = await asyncpg.connect(dsn)
    log, publisher = (
        KafkaLog({"bootstrap_servers": bootstrap}),
        await KafkaPublisher.open({"bootstrap_servers": bootstrap}),
    )
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS offsets (partition int PRIMARY KEY, next_offset bigint)")
        await connection.execute("CREATE TABLE IF NOT EXISTS totals (bucket text PRIMARY KEY, total int, drops int)")
        await connection.execute("CREATE SEQUENCE IF NOT EXISTS numbers")
        places = [Place(drops_topic(name).name, partition) for partition in range(PARTITIONS)]
        for place, extent in (await log.extents(places)).items():
            start = await connection.fetchval("SELECT next_offset FROM offsets WHERE partition = $1", place.partition)
            async for record in log.read(place, start or 0, extent.end):
                drop = Drop.model_validate_json(record.value or b"")
                total, drops = await connection.fetchrow(
                    """
                    INSERT INTO totals VALUES ($1, $2, 1) ON CONFLICT (bucket)
                    DO UPDATE SET total = totals.total + $2, drops = totals.drops + 1 RETURNING total, drops
                    """,
                    drop.bucket,
                    drop.amount,
                )
                number = await connection.fetchval("SELECT nextval('numbers')")
                level = Level(bucket=drop.bucket, total=total, drops=drops)
                await _publish(publisher, name, number, level, record.timestamp_ms)
            await connection.execute(
                "INSERT INTO offsets VALUES ($1, $2) ON CONFLICT (partition) DO UPDATE SET next_offset = $2",
                place.partition,
                extent.end,
            )
    finally:
        await publisher.close()
        await connection.close()


async def _publish(publisher: KafkaPublisher, name: str, number: int, level: Level, time_ms: int) -> None:
    headers = encode(Envelope(f"{name}/{number}", Level.type_name, f"/millpond/{name}", ce_time(time_ms)))
    outbox = (OUTBOX, OutboxNumber(name, number, number - 1).to_header())
    place = Place(levels_topic(name).name, partition_of(level.bucket.encode(), PARTITIONS))
    outbound = Outbound(level.bucket.encode(), level.to_bytes(), (*headers, outbox), time_ms)
    await (await publisher.send(place, [outbound]))
