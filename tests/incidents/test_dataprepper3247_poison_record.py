"""Incident 54: one undecodable record stopped a partition for ever, or was dropped without trace, with green probes."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from millpond.events.deadletters import DeadLettered, DeadLetterEvent, Skipped, Stopped
from millpond.events.envelope import CE_TYPE
from millpond.events.topic_plan import topic_settings
from millpond.stream.reading import BREAKER_RECORDS, BREAKER_SHARE_MAX
from millpond.stream.record import Place, Record
from stream import operators
from stream.in_process import running
from stream.logs import set_on_topic
from stream.operators import OPERATOR, publish, signed
from stream.poisons import Raw, drop, put
from stream.state import buckets, letters_told
from stream.tally import drops_topic, tally
from stream.topics_made import create_topics, new_name, read_all
from stream.workers import wait_until

RECORDS = 1_000
POISON_AT = 100
WITHIN_S = 120.0
FIVE_MB = 5_000_000

GOOD = drop("poison", bucket="poison")
POISONS: dict[str, Raw] = {
    "random bytes": replace(GOOD, value=bytes(range(256)) * 4),
    "a null value": replace(GOOD, value=None),
    "5 MB": replace(GOOD, value=b'{"bucket": "' + b"b" * FIVE_MB + b'", "amount": 1}'),
    "an unknown version": GOOD.having(CE_TYPE, b"Drop.v9"),
}


@dataclass
class Outcome:
    """What can be seen from outside after a run."""

    applied: int
    letters: Sequence[DeadLetterEvent] = ()
    not_ready: Sequence[str] = field(default_factory=list)


def check_aside(outcome: Outcome, stood: Record) -> None:
    assert outcome.applied == RECORDS - 1
    assert outcome.not_ready == []
    (letter,) = outcome.letters
    assert isinstance(letter, DeadLettered)
    check_is_of(letter, stood)


def check_stop(outcome: Outcome, stood: Record) -> None:
    assert outcome.applied == POISON_AT
    assert outcome.not_ready == [f"{stood.place} is stopped: poison"]
    (letter,) = outcome.letters
    assert isinstance(letter, Stopped)
    check_is_of(letter, stood)


def check_is_of(letter: DeadLetterEvent, stood: Record) -> None:
    assert (letter.topic, letter.partition, letter.offset) == (*stood.place, stood.offset)
    assert b64decode(letter.key_base64 or "") == stood.key
    assert letter.value_bytes == len(stood.value or b"")
    # What is too large for a dead letter stands at its place, named by its hash.
    if letter.value_bytes < FIVE_MB:
        assert (None if letter.value_base64 is None else b64decode(letter.value_base64)) == stood.value
    assert letter.reason
    assert letter.sentence


async def thousand(bootstrap: str, topic: str, poison: Raw) -> Record:
    """A thousand records of which number 100 is poison; returns that one as it stands there."""
    await set_on_topic(
        bootstrap, topic, topic_settings(drops_topic("x"), replication_factor=1) | {"max.message.bytes": "6000000"}
    )
    good = [drop(f"d{n}") for n in range(RECORDS)]
    await put(bootstrap, topic, good[:POISON_AT])
    await _put_once_allowed(bootstrap, topic, poison)
    await put(bootstrap, topic, good[POISON_AT + 1 :])
    return next(record for record in await read_all(bootstrap, topic) if record.offset == POISON_AT)


async def _put_once_allowed(bootstrap: str, topic: str, poison: Raw) -> None:
    """A broker acts on a topic's new limit a little after it has said yes to it."""

    async def taken() -> bool:
        try:
            return bool(await put(bootstrap, topic, [poison]))
        except MessageSizeTooLargeError:
            return False

    await wait_until(taken, 10)


@pytest.mark.parametrize("kind", POISONS)
@pytest.mark.parametrize("rule", ["aside", "stop"])
async def test_a_poison_is_set_aside_or_waited_at_and_always_told(
    kafka_bootstrap: str, database: str, rule: str, kind: str
) -> None:
    name, aside = new_name(), rule == "aside"
    service = tally(name, reads=(drops_topic(name, poison=rule),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    stood = await thousand(kafka_bootstrap, topic, POISONS[kind])
    async with running(service, kafka_bootstrap, database, operators=(OPERATOR,)) as instance:
        wanted = {"b": (RECORDS - 1, RECORDS - 1) if aside else (POISON_AT, POISON_AT)}

        async def is_told() -> bool:
            return await buckets(database, name) == wanted and len(await letters_told(kafka_bootstrap, name)) == 1

        await wait_until(is_told, WITHIN_S)
        outcome = Outcome(
            sum(drops for _, drops in (await buckets(database, name)).values()),
            await letters_told(kafka_bootstrap, name),
            instance.why_not_ready(),
        )
        (check_aside if aside else check_stop)(outcome, stood)
        if not aside:
            # Nothing but an operator's event leads past it.
            await publish(kafka_bootstrap, signed(operators.skip(outcome.letters[0], 1)))

            async def went_on() -> bool:
                return await buckets(database, name) == {"b": (RECORDS - 1, RECORDS - 1)}

            await wait_until(went_on, WITHIN_S)
            assert [type(letter) for letter in await letters_told(kafka_bootstrap, name)] == [Stopped, Skipped]


@pytest.mark.parametrize(("share", "stops"), [(BREAKER_SHARE_MAX + 0.1, True), (BREAKER_SHARE_MAX - 0.1, False)])
async def test_where_most_records_are_poison_the_breaker_stops_the_partition(
    kafka_bootstrap: str, database: str, share: float, stops: bool
) -> None:
    name = new_name()
    service = tally(name, reads=(drops_topic(name, poison="aside"),))
    await create_topics(kafka_bootstrap, service)
    topic = service.reads[0].name
    bad = [n % 10 < round(share * 10) for n in range(BREAKER_RECORDS)]
    await put(
        kafka_bootstrap,
        topic,
        [replace(drop(f"d{n}"), value=b"{") if is_bad else drop(f"d{n}") for n, is_bad in enumerate(bad)],
    )
    async with running(service, kafka_bootstrap, database) as instance:

        async def all_seen() -> bool:
            return (await buckets(database, name)).get("b") == (bad.count(False), bad.count(False))

        await wait_until(all_seen, WITHIN_S)
        await put(kafka_bootstrap, topic, [drop("behind", bucket="behind"), drop("beside", 1, bucket="beside")])

        async def others_go_on() -> bool:
            return "beside" in await buckets(database, name)

        await wait_until(others_go_on, WITHIN_S)
        place = Place(topic, 0)
        if stops:
            assert instance.stops() == {place: "breaker"}
            assert instance.why_not_ready() == [f"{place} is stopped: breaker"]
            assert "behind" not in await buckets(database, name)
        else:
            assert instance.stops() == {}


async def dropping(bootstrap: str, topic: str) -> Outcome:
    """The double: what can't be decoded is logged and passed over, on whichever topic, and every probe stays green."""
    applied = 0
    for record in await read_all(bootstrap, topic):
        try:
            applied += json.loads(record.value or b"")["amount"]
        except (ValueError, KeyError):
            continue
    return Outcome(applied)


@pytest.mark.parametrize("check", [check_aside, check_stop])
async def test_the_same_checks_fail_for_what_the_source_did(kafka_bootstrap: str, check: object) -> None:
    name = new_name()
    await create_topics(kafka_bootstrap, tally(name))
    topic = drops_topic(name).name
    stood = await thousand(kafka_bootstrap, topic, POISONS["random bytes"])
    outcome = await dropping(kafka_bootstrap, topic)
    assert outcome.applied == RECORDS - 1
    with pytest.raises((AssertionError, ValueError)):
        check(outcome, stood)  # type: ignore[operator]
