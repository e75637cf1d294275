"""Skip and readmit: only what an operator signed, for this service, about exactly this record, once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncpg

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, ReAdmitted, Skipped, Stopped
from millpond.events.envelope import CE_TYPE
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Written
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import Domain
from millpond.stream.record import ITEM, OUTBOX, Place
from millpond_cli.letters import letter_event
from stream import operators
from stream.in_process import CHAIN_ID, Instance, running
from stream.operators import OPERATOR, STRANGERS_KEY, publish, signed
from stream.poisons import drop, put
from stream.tally import dead_letters_topic, drops_topic, tally
from stream.topics_made import create_topics, new_name, read_all
from stream.workers import wait_until

WITHIN_S = 120.0


async def events_on(bootstrap: str, name: str) -> list[DeadLetterEvent]:
    found = map(letter_event, await read_all(bootstrap, dead_letters_topic(name)))
    return [event for event in found if event is not None]


async def told(bootstrap: str, name: str, count: int) -> list[DeadLetterEvent]:
    """The first ``count`` events on the service's dead-letter topic, once they are there; by place."""

    async def are_there() -> list[DeadLetterEvent] | None:
        events = await events_on(bootstrap, name)
        return events if len(events) >= count else None

    return await wait_until(are_there, WITHIN_S) or []


async def buckets(dsn: str, name: str) -> dict[str, tuple[int, int]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(f'SELECT * FROM "{name}".buckets')
    finally:
        await connection.close()
    return {row["bucket"]: (row["total"], row["drops"]) for row in rows}


def applied(instance: Instance, topic: str) -> float:
    return instance.metrics.value("millpond_stream_records_total", topic=topic) or 0


async def command_seen(instance: Instance, dsn: str, name: str, place: tuple[int, int]) -> None:
    """Waits until the service has passed the command at ``place``."""

    async def passed() -> bool:
        connection = await asyncpg.connect(dsn)
        try:
            position = await connection.fetchval(
                f'SELECT next_offset FROM "{name}".positions WHERE topic = $1 AND partition = $2',
                OPERATOR_COMMANDS.name,
                place[0],
            )
        finally:
            await connection.close()
        return position is not None and position > place[1]

    await wait_until(passed, WITHIN_S)


def forged(bad: OperatorCommanded, **message: Any) -> OperatorCommanded:
    return bad.model_copy(update={"message": {**bad.message, **message}})


async def test_only_a_signed_command_of_an_operator_about_exactly_this_record_lets_a_partition_go_on(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service = tally(name)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    await put(kafka_bootstrap, topic, [replace(drop("bad"), value=b"{"), drop("good", amount=5)])
    place = Place(topic, 0)
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        (stopped,) = await told(kafka_bootstrap, name, 1)
        assert isinstance(stopped, Stopped)
        good = operators.skip(stopped, 10)
        refused = [
            # A signature for another message, by a stranger, for another pool, for another chain.
            forged(signed(good), reason="another reason"),
            signed(good, key=STRANGERS_KEY),
            signed(good, key=STRANGERS_KEY).model_copy(update={"signer": OPERATOR}),
            signed(good, domain=Domain(pool="other", chain_id=CHAIN_ID)),
            signed(good, domain=Domain(pool="pond", chain_id=1)),
            signed(good).model_copy(update={"signature": "0x" + "00" * 65}),
            # About other bytes than stand there, another place, one that no partition has.
            signed(operators.skip(stopped, 11, content_hash="0x" + "ab" * 32)),
            signed(operators.skip(stopped, 12, offset=1)),
            signed(operators.skip(stopped, 13, partition=2**200)),
            signed(operators.skip(stopped, 14, offset=2**63)),
            # It is stopped: there is nothing to readmit.
            signed(operators.readmit(stopped, 15)),
        ]
        # Each under an item of its own, so that each is looked at.
        places = [(await publish(kafka_bootstrap, bad, item=f"{name}/{n}"))[0] for n, bad in enumerate(refused)]
        others = await publish(kafka_bootstrap, signed(operators.skip(stopped, 20, service=new_name("other"))))
        events = await told(kafka_bootstrap, name, 1 + len(refused))
        refusals = [event for event in events if event.topic == OPERATOR_COMMANDS.name]
        assert {(event.partition, event.offset) for event in refusals} == set(places)
        assert {(type(event), event.reason) for event in refusals} == {(DeadLettered, "refused_command")}
        assert all(event.sentence for event in refusals)
        del others
        assert instance.stops() == {place: "poison"}
        assert applied(instance, topic) == 0

        (first,) = await publish(kafka_bootstrap, signed(good), item=f"{name}/good")
        await wait_until(lambda: applied(instance, topic) == 1, WITHIN_S)
        assert instance.stops() == {}
        # The same once more, under another item: its nonce is used up, so nothing happens but a refusal.
        (again,) = await publish(kafka_bootstrap, signed(good), item=f"{name}/replayed")
        await command_seen(instance, database, name, again)
        events = await told(kafka_bootstrap, name, 1 + len(refused) + 2)
    assert await buckets(database, name) == {"b": (5, 1)}
    skipped = [event for event in events if isinstance(event, Skipped)]
    assert [(event.topic, event.partition, event.offset, event.signer, event.nonce) for event in skipped] == [
        (topic, 0, 0, OPERATOR, 10)
    ]
    assert first != again
    replayed = [
        event for event in events if (event.topic, event.partition, event.offset) == ("operator.commands.v1", *again)
    ]
    assert [event.sentence for event in replayed] == [
        "nonce is 10, and 10 of the same signer, topic and key was already accepted.\nSign again with a nonce above 10."
    ]


async def test_an_item_with_other_bytes_is_set_aside_and_the_first_counts_also_where_poison_stops(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    service = tally(name)
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    first, other = drop("same", amount=5), drop("same", amount=7)
    # In one batch, in the next one, on another partition; the first again, with the same bytes, is no news.
    await put(kafka_bootstrap, topic, [first, other, first])
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        await told(kafka_bootstrap, name, 1)
        await put(kafka_bootstrap, topic, [first, other, replace(other, partition=1), drop("last", 1, amount=1)])
        events = await told(kafka_bootstrap, name, 3)
        await wait_until(lambda: buckets_are(database, name, {"b": (6, 2)}), WITHIN_S)
        assert {(type(event), event.reason, event.partition, event.offset) for event in events} == {
            (DeadLettered, "conflict", 0, 1),
            (DeadLettered, "conflict", 0, 4),
            (DeadLettered, "conflict", 1, 0),
        }
        # Reported, never merged: not by command either.
        await publish(kafka_bootstrap, signed(operators.readmit(events[0], 1)))
        events = await told(kafka_bootstrap, name, 5)
        assert [type(event) for event in events if (event.partition, event.offset) == (0, 1)] == [
            DeadLettered,
            ReAdmitted,
            DeadLettered,
        ]
        assert instance.stops() == {}
    assert await buckets(database, name) == {"b": (6, 2)}


async def buckets_are(dsn: str, name: str, wanted: dict[str, tuple[int, int]]) -> bool:
    return await buckets(dsn, name) == wanted


async def test_a_readmitted_record_is_decided_once_at_its_new_place_whoever_repeats_what(
    kafka_bootstrap: str, database: str
) -> None:
    name = new_name()
    old = tally(name, reads=(drops_topic(name, poison="aside"),))
    await create_topics(kafka_bootstrap, old)
    topic = old.reads[0].name
    # A reader that is too old for the type; its source sends the second one twice.
    early, later = drop("early", amount=5), drop("later", amount=7)
    await put(
        kafka_bootstrap,
        topic,
        [raw.having(CE_TYPE, b"Drizzle") for raw in (early, later, later)] + [drop("good", amount=1)],
    )
    async with running(old, kafka_bootstrap, database, operators=(OPERATOR,)):
        aside = await told(kafka_bootstrap, name, 3)
    assert {event.reason for event in aside} == {"unknown_type"}
    drizzle = replace_types(name)
    async with running(drizzle, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        commands = [signed(operators.readmit(event, 10 + n)) for n, event in enumerate(aside)]
        await publish(kafka_bootstrap, *commands)
        await wait_until(lambda: buckets_are(database, name, {"b": (13, 3)}), WITHIN_S)
        # Again, with new nonces, and the source repeats itself too.
        await publish(kafka_bootstrap, *(signed(operators.readmit(event, 20 + n)) for n, event in enumerate(aside)))
        await put(kafka_bootstrap, topic, [early.having(CE_TYPE, b"Drizzle"), drop("end", amount=100)])
        await wait_until(lambda: buckets_are(database, name, {"b": (113, 4)}), WITHIN_S)
        events = await told(kafka_bootstrap, name, 3 + 3 + 3)
        assert instance.stops() == {}
    assert await buckets(database, name) == {"b": (113, 4)}
    assert [type(event).__name__ for event in events].count("ReAdmitted") == 3


def replace_types(name: str) -> Any:
    """The same service, that now also knows what was an unknown type to it."""
    topic = drops_topic(name, poison="aside")
    object.__setattr__(topic, "event_types", {**topic.event_types, "Drizzle": topic.events[0]})
    return tally(name, reads=(topic,))


async def test_a_gap_is_skipped_by_command_and_the_record_behind_it_can_be_readmitted(
    kafka_bootstrap: str, database: str
) -> None:

    name = new_name()
    service = tally(name, "single_active", reads=(drops_topic(name, written=Written.BY_PROCESS, items_kept=False),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    lost = [drop(f"d{n}", amount=10**n, number=n) for n in (1, 2, 3, 4)]
    await put(kafka_bootstrap, topic, [lost[0], lost[2], lost[3], lost[1].without(ITEM)])
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        (stopped,) = await told(kafka_bootstrap, name, 1)
        assert (type(stopped), stopped.reason, stopped.offset) == (Stopped, "gap", 1)
        assert instance.stops() == {Place(topic, 0): "gap"}
        assert await buckets(database, name) == {"b": (10, 1)}
        await publish(kafka_bootstrap, signed(operators.skip(stopped, 1)), signed(operators.readmit(stopped, 2)))
        # 3 was readmitted, 4 follows it, and 2 comes too late: its number is below the last.
        await wait_until(lambda: buckets_are(database, name, {"b": (11_010, 3)}), WITHIN_S)
        assert instance.stops() == {}
    assert OUTBOX in dict(lost[0].headers)
