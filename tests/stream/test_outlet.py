"""From a decided event to a row: where it goes and how large it may be is settled at once."""

from __future__ import annotations

import json

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from millpond.events.topic import Topic
from millpond.stream.database import Item, judge_items
from millpond.stream.decision import Outgoing
from millpond.stream.outlet import (
    NotAnOutput,
    OutgoingTooLarge,
    Outlet,
    WrongIdentity,
    ce_time,
    covered_offsets,
    partition_of,
    shared_headers,
    under,
)
from millpond.stream.record import READ, Place
from stream.tally import Drop, Level, drops_topic, levels_topic

LEVELS = levels_topic("tally")
OUTLET = Outlet("tally", (LEVELS,))
LEVEL = Level(bucket="b", total=1, drops=1)
DROP = Drop(bucket="b", amount=1)


@given(st.binary(max_size=64), st.integers(1, 64))
def test_a_key_goes_where_every_kafka_client_puts_it(key: bytes, partitions: int) -> None:
    everywhere = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, everywhere, everywhere)


@pytest.mark.parametrize(
    ("key", "murmur2"),
    # From Apache Kafka's own UtilsTest.
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_goes_where_java_puts_it(key: bytes, murmur2: int) -> None:
    for partitions in (1, 6, 12):
        assert partition_of(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


def test_a_row_says_what_was_decided() -> None:
    row = OUTLET.row(Outgoing(LEVELS, "b", LEVEL, 5), "[]")
    assert (row.topic, row.partition, row.key) == (LEVELS.name, partition_of(b"b", 4), b"b")
    assert (row.value, row.event_type, row.time_ms) == (LEVEL.to_bytes(), "Level", 5)


def test_a_row_can_be_meant_for_one_partition() -> None:
    assert [OUTLET.row(Outgoing(LEVELS, "b", LEVEL, 5, n), "[]").partition for n in range(4)] == [0, 1, 2, 3]


def test_what_is_too_large_is_refused_here() -> None:
    small = levels_topic("tally")
    object.__setattr__(small, "value_bytes_max", len(LEVEL.to_bytes()))
    OUTLET.row(Outgoing(small, "b", LEVEL, 5), "[]")
    object.__setattr__(small, "value_bytes_max", len(LEVEL.to_bytes()) - 1)
    with pytest.raises(OutgoingTooLarge):
        OUTLET.row(Outgoing(small, "b", LEVEL, 5), "[]")


def test_only_what_the_service_writes_goes_out() -> None:
    with pytest.raises(NotAnOutput, match="doesn't write"):
        OUTLET.row(Outgoing(drops_topic("tally"), "b", LEVEL, 5), "[]")


def test_where_sources_write_an_event_has_its_identity_behind_what_it_shares() -> None:
    drops = drops_topic("tally")
    row = Outlet("tally", (drops,)).row(Outgoing(drops, "b", DROP, 5, item="drop-1"), '[["read", "a 0 1"]]')
    assert json.loads(row.headers) == [["read", "a 0 1"], ["item", "drop-1"]]


@pytest.mark.parametrize(("topic", "item"), [(drops_topic("tally"), None), (drops_topic("tally"), ""), (LEVELS, "x")])
def test_an_identity_that_is_missing_or_meant_for_nobody_is_refused(topic: Topic, item: str | None) -> None:
    with pytest.raises(WrongIdentity):
        Outlet("tally", (topic,)).row(Outgoing(topic, "b", DROP, 5, item=item), "[]")


def test_other_shared_headers_leave_a_row_its_identity() -> None:
    drops = drops_topic("tally")
    outlet = Outlet("tally", (drops, LEVELS))
    after = shared_headers({}, [], decided=2)
    identified = under(outlet.row(Outgoing(drops, "b", DROP, 5, item="drop-1"), "[]"), "[]", after)
    plain = under(outlet.row(Outgoing(LEVELS, "b", LEVEL, 5), "[]"), "[]", after)
    assert json.loads(identified.headers) == [["decided", "2"], ["item", "drop-1"]]
    assert json.loads(plain.headers) == [["decided", "2"]]


places = st.builds(Place, st.from_regex(r"[a-z]{1,9}\.[a-z]{1,9}\.v1", fullmatch=True), st.integers(0, 20))


@given(st.dictionaries(places, st.integers(0, 2**63), min_size=1, max_size=12))
def test_what_a_transaction_had_read_comes_back_from_its_header(read: dict[Place, int]) -> None:
    headers = dict(json.loads(shared_headers(read, [("traceparent", "00-1")])))
    assert covered_offsets(headers[READ].encode()) == read
    assert headers["traceparent"] == "00-1"


def test_the_same_reading_gives_the_same_bytes() -> None:
    one, other = {Place("a", 1): 5, Place("a", 0): 6}, {Place("a", 0): 6, Place("a", 1): 5}
    assert shared_headers(one, []) == shared_headers(other, [])


def test_who_read_nothing_says_nothing_of_it() -> None:
    assert shared_headers({}, []) == "[]"


def test_what_was_decided_at_once_says_how_many_it_is() -> None:
    assert json.loads(shared_headers({}, [], decided=3)) == [["decided", "3"]]


@pytest.mark.parametrize("header", [b"", b"a", b"a 0", b"a 0 x", b"a 0 1 2", b"\xff"])
def test_a_header_that_says_no_offsets_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (split and int say it in their ways)
        covered_offsets(header)


@pytest.mark.parametrize(
    ("time_ms", "text"),
    [(0, "1970-01-01T00:00:00.000Z"), (1_767_225_600_001, "2026-01-01T00:00:00.001Z")],
)
def test_a_stamp_is_written_as_cloudevents_wants_it(time_ms: int, text: str) -> None:
    assert ce_time(time_ms) == text


items = st.builds(Item, st.just("t"), st.sampled_from("abc"), st.sampled_from([b"1", b"2"]))


@given(st.lists(items, max_size=12), st.dictionaries(st.sampled_from("abc"), st.sampled_from([b"1", b"2"])))
def test_the_first_with_an_identity_counts(batch: list[Item], kept: dict[str, bytes]) -> None:
    hashes = {("t", identity): content for identity, content in kept.items()}
    new: set[tuple[str, str]] = set()
    for item in batch:
        if (
            hashes.setdefault(("t", item.identity), item.content_hash) is item.content_hash
            and item.identity not in kept
        ):
            new.add(("t", item.identity))
    verdicts = judge_items(batch, new=new, hashes=hashes)
    seen = dict(kept)
    for item, verdict in zip(batch, verdicts, strict=True):
        if item.identity not in seen:
            assert verdict == "first"
            seen[item.identity] = item.content_hash
        else:
            assert verdict == ("duplicate" if seen[item.identity] == item.content_hash else "conflict")
