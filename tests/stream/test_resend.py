"""A log that lost its tail: the service refuses, ``topics resend`` completes it with the same bytes (STREAM 12, 13)."""

from __future__ import annotations

import pytest
from typer.testing import Result

from stream.disasters import lose_tail, millpond, rows, run_until_caught_up, said, write
from stream.tally import levels_topic, tally
from stream.topics_made import applied_once, create_topics, levels, new_name, produce, rain, read_all
from stream.workers import Workers

pytestmark = pytest.mark.long

FALLS = 120
KEPT = 7
WHERE = "WHERE topic = $1 AND partition = 1"


async def resend(bootstrap: str, dsn: str, name: str, shape: str = "grouped") -> Result:
    return await millpond(
        *("topics", "resend", name, "--build", "stream.pairs:build"),
        bootstrap=bootstrap,
        dsn=dsn,
        SERVICE_KIND="tally",
        TALLY_NAME=name,
        TALLY_SHAPE=shape,
    )


@pytest.mark.parametrize("shape", ["grouped", "single_active"])
async def test_a_log_that_lost_its_tail_is_completed_from_the_outbox(
    shape: str, kafka_bootstrap: str, database: str, workers: Workers
) -> None:
    name = new_name()
    service, topic = tally(name, shape), levels_topic(name)
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service)
    whole = await read_all(kafka_bootstrap, topic)
    # One partition is lost to its beginning, one not at all, two in part.
    await lose_tail(kafka_bootstrap, topic, whole, lambda r: r.partition == 1 or (r.partition > 1 and r.offset < KEPT))
    cut = await read_all(kafka_bootstrap, topic)
    assert 0 < len(cut) < len(whole)

    refused = workers.start(name, shape, "stream.pairs", SERVICE_KIND="tally")
    assert refused.process.wait(30) == 1, refused.log_tail()
    assert f"Run: millpond topics resend {name}" in refused.log_text()
    assert await read_all(kafka_bootstrap, topic) == cut

    resent = await resend(kafka_bootstrap, database, name, shape)
    assert resent.exit_code == 0, said(resent)
    assert await read_all(kafka_bootstrap, topic) == whole

    again = await resend(kafka_bootstrap, database, name, shape)
    assert again.exit_code == 0
    assert "Nothing is missing" in said(again)

    await produce(kafka_bootstrap, name, rain(FALLS, first=FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service)
    after = await read_all(kafka_bootstrap, topic)
    assert [record for record in after if record in whole] == whole
    found = [level for records in applied_once(after).values() for level in levels(records)]
    last = {level.bucket: level for level in sorted(found, key=lambda level: level.drops)}
    assert len(found) == 2 * FALLS == sum(level.drops for level in last.values())


async def test_what_the_outbox_no_longer_holds_is_not_resent_in_part(kafka_bootstrap: str, database: str) -> None:
    name = new_name()
    service, topic = tally(name), levels_topic(name)
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service)
    whole = await read_all(kafka_bootstrap, topic)
    await rows(database, name, "DELETE FROM outbox WHERE number <= (SELECT max(number) - 5 FROM outbox)")
    await lose_tail(kafka_bootstrap, topic, whole, lambda r: r.offset < KEPT)
    cut = await read_all(kafka_bootstrap, topic)

    resent = await resend(kafka_bootstrap, database, name)

    assert resent.exit_code == 1
    assert "millpond topics restore" in said(resent)
    assert await read_all(kafka_bootstrap, topic) == cut


async def test_a_hole_behind_which_newer_records_stand_is_not_taken_for_a_lost_tail(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service, topic = tally(name), levels_topic(name)
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service)
    whole = await read_all(kafka_bootstrap, topic)
    # As if the relay had gone on after the loss: its newest record stands where a lost one stood.
    newest = {record.partition: record for record in whole}
    await lose_tail(kafka_bootstrap, topic, whole, lambda r: r.offset < KEPT)
    await write(kafka_bootstrap, [record._replace(offset=KEPT) for record in newest.values()])
    cut = await read_all(kafka_bootstrap, topic)

    resent = await resend(kafka_bootstrap, database, name)

    assert resent.exit_code == 1
    assert "lacks a record" in said(resent)
    assert await read_all(kafka_bootstrap, topic) == cut


async def test_it_says_so_when_the_records_are_there_again_but_not_at_their_offsets(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service, topic = tally(name), levels_topic(name)
    await create_topics(kafka_bootstrap, service)
    await produce(kafka_bootstrap, name, rain(FALLS))
    await run_until_caught_up(kafka_bootstrap, database, service)
    whole = await read_all(kafka_bootstrap, topic)
    # As if a relay had sent the last record of partition 1 twice, and both were lost.
    await rows(database, name, f"UPDATE relay_progress SET next_offset = next_offset + 1 {WHERE}", topic.name)
    await lose_tail(kafka_bootstrap, topic, whole, lambda r: r.partition != 1 or r.offset < KEPT)

    resent = await resend(kafka_bootstrap, database, name)

    assert resent.exit_code == 1
    assert "not where they were" in said(resent)
    assert await read_all(kafka_bootstrap, topic) == whole
    assert "Nothing is missing" in said(await resend(kafka_bootstrap, database, name))
    await run_until_caught_up(kafka_bootstrap, database, service)
