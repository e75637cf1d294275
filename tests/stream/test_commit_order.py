"""What is published stands in the order of the commits, whoever decided it, and nobody's idle transaction holds it up."""

from __future__ import annotations

import asyncpg
import pytest

from stream.staged_tally import staged_tally
from stream.tables import settled
from stream.topics_made import applied_once, create_topics, levels, new_name, produce, rain, read_all
from stream.workers import Workers, wait_until

WITHIN_S = 120.0
DROPS = 3_000


@pytest.mark.parametrize("batch_records_max", [1, 7])
async def test_partitions_that_touch_one_row_are_told_in_the_order_of_their_commits(
    kafka_bootstrap: str, database: str, workers: Workers, batch_records_max: int
) -> None:
    """Two processes, four partitions, and the drops of each bucket on all of them: existing rows, and rows yet to be made."""
    name = new_name()
    service = staged_tally(name)
    drops = DROPS if batch_records_max > 1 else DROPS // 5
    await create_topics(kafka_bootstrap, service)
    both = [
        workers.start(name, program="stream.staged_tally", MILLPOND_STREAM_BATCH_RECORDS_MAX=str(batch_records_max))
        for _ in range(2)
    ]
    await wait_until(lambda: all("Setting newly assigned" in worker.log_text() for worker in both), WITHIN_S)
    # Few buckets: two transactions nearly always want the same one. New ones all the time: no row to lock yet.
    await produce(kafka_bootstrap, name, rain(drops // 2, buckets=3, spread=True))
    await produce(kafka_bootstrap, name, rain(drops // 2, buckets=drops // 20, spread=True, first=drops // 2))
    await wait_until(lambda: settled(database, name, drops), WITHIN_S)
    for worker in both:
        worker.terminate()

    told: dict[str, list[int]] = {}
    for records in applied_once(await read_all(kafka_bootstrap, service.writes[0])).values():
        for level in levels(records):
            told.setdefault(level.bucket, []).append(level.drops)
    assert {bucket: counts for bucket, counts in told.items() if counts != list(range(1, len(counts) + 1))} == {}
    assert sum(map(len, told.values())) == drops


async def test_an_idle_transaction_elsewhere_on_the_server_delays_nothing(
    kafka_bootstrap: str, database: str, workers: Workers
) -> None:
    """In another schema of the same database, and in another database; both have written, so both hold a transaction id."""
    name = new_name()
    await create_topics(kafka_bootstrap, staged_tally(name))
    elsewhere = database.rpartition("/")[0] + "/postgres"
    idle = [await asyncpg.connect(dsn) for dsn in (database, elsewhere)]
    try:
        for connection in idle:
            await connection.execute("CREATE SCHEMA IF NOT EXISTS somebody_else")
            await connection.execute("BEGIN")
            await connection.execute(
                "CREATE TABLE somebody_else.slow (n int); INSERT INTO somebody_else.slow VALUES (1)"
            )
        worker = workers.start(name, program="stream.staged_tally")
        await produce(kafka_bootstrap, name, rain(500))
        await wait_until(lambda: settled(database, name, 500), WITHIN_S)
        worker.terminate()
        told = applied_once(await read_all(kafka_bootstrap, staged_tally(name).writes[0]))
        assert sum(map(len, told.values())) == 500
    finally:
        for connection in idle:
            await connection.execute("ROLLBACK")
            await connection.execute("DROP SCHEMA somebody_else")
            await connection.close()
