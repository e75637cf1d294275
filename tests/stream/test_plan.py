"""No record is passed in silence, and where a batch is cut makes no difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.events.envelope import CE_TYPE
from millpond.events.topic import Topic, Written
from millpond.stream.database import DeadLetter
from millpond.stream.plan import Plan, Stop, dead_letter, plan_batch
from millpond.stream.position import Position
from millpond.stream.record import FILLER, ITEM, OUTBOX, Record, record_hash
from stream.tally import Drop, drops_topic

BY_SOURCE = drops_topic("tally")
BY_PROCESS = drops_topic("tally", written=Written.BY_PROCESS, items_kept=False)


def topics() -> st.SearchStrategy[Topic]:
    poisons = st.sampled_from(["stop", "aside"])
    written = st.sampled_from([(Written.BY_SOURCE, True), (Written.BY_SOURCE, False), (Written.BY_PROCESS, False)])
    return st.builds(
        lambda poison, kind: drops_topic("tally", poison=poison, written=kind[0], items_kept=kind[1]), poisons, written
    )


def record(offset: int, *, number: int | None = None, item: str | None = None, **changes: Any) -> Record:
    headers = [(CE_TYPE, b"Drop")]
    if number is not None:
        headers.append((OUTBOX, f"rain {number} {number - 1}".encode()))
    if item is not None:
        headers.append((ITEM, item.encode()))
    facts = {"key": b"b", "value": b'{"bucket":"b","amount":1}', "headers": tuple(headers), "timestamp_ms": 1}
    return Record(**{"topic": "tally.drops.v1", "partition": 0, "offset": offset, **facts, **changes})


@st.composite
def batches(draw: st.DrawFn) -> list[Record]:
    """Records as a broken world may show them: any bytes, holes between offsets, repeats and gaps of numbers."""
    records, offset = [], draw(st.integers(0, 3))
    for _ in range(draw(st.integers(1, 12))):
        number = draw(st.one_of(st.none(), st.integers(1, 6)))
        item = draw(st.one_of(st.none(), st.sampled_from(["one", "two"])))
        values = st.sampled_from([b'{"bucket":"b","amount":1}', b"{", b'{"bucket":1}', None, b"\xff"])
        made = record(offset, number=number, item=item, value=draw(values))
        extra = draw(st.sampled_from([(), ((FILLER, b""),), ((OUTBOX, b"nonsense"),), ((ITEM, b"\xff"),)]))
        records.append(made._replace(headers=(*extra, *made.headers)))
        offset += draw(st.integers(1, 3))
    return records


@st.composite
def letters(draw: st.DrawFn, records: Sequence[Record]) -> dict[int, DeadLetter]:
    known = draw(st.lists(st.sampled_from(records), max_size=3, unique_by=lambda each: each.offset))
    states = st.sampled_from(["stopped", "skipped", "aside", "readmitted", "resumed"])
    return {each.offset: replace(dead_letter(each, "poison", "stopped"), state=draw(states)) for each in known}


def in_pieces(
    topic: Topic, records: Sequence[Record], cuts: Sequence[int], known: Mapping[int, DeadLetter]
) -> list[Plan]:
    """The same records in several batches, each begun where the one before ended, until a stop."""
    plans: list[Plan] = []
    position = Position()
    for start, end in zip([0, *cuts], [*cuts, len(records)], strict=True):
        if records[start:end]:
            plans.append(plan_batch(topic, records[start:end], position, known))
            position = plans[-1].after
            if plans[-1].stop is not None:
                break
    return plans


@given(topics(), batches(), st.data())
def test_every_record_is_accounted_for(topic: Topic, records: list[Record], data: st.DataObject) -> None:
    plan = plan_batch(topic, records, Position(), data.draw(letters(records)))
    arrived = [arrival.received.offset for arrival in plan.arrivals]
    aside = [letter.offset for letter, _ in plan.asides]
    before_stop = [each for each in records if each.offset < plan.after.next_offset]
    behind = records[len(before_stop) :]
    # The offsets of those passed over are not in the plan, but their count is: none is missing.
    assert len(set(arrived) | set(aside)) == len(arrived) + len(aside)
    assert len(arrived) + len(aside) + plan.repeats == len(before_stop)
    assert {*arrived, *aside} <= {each.offset for each in before_stop}
    assert bool(behind) == (plan.stop is not None)
    if plan.stop is not None:
        assert plan.stop.letter is not None
        assert plan.stop.letter.offset == behind[0].offset


@given(topics(), batches(), st.data())
def test_what_is_passed_over_has_a_reason(topic: Topic, records: list[Record], data: st.DataObject) -> None:
    known = data.draw(letters(records))
    plan = plan_batch(topic, records, Position(), known)
    seen = {arrival.received.offset for arrival in plan.arrivals} | {letter.offset for letter, _ in plan.asides}
    numbers: set[int] = set()
    for each in records:
        if each.offset >= plan.after.next_offset:
            break
        header = each.header(OUTBOX) or b""
        number = int(header.split()[1]) if header.startswith(b"rain") else 0
        if each.offset not in seen:
            passed = each.offset in known and known[each.offset].state in ("skipped", "aside", "readmitted")
            repeat = topic.written is Written.BY_PROCESS and number and number <= max(numbers, default=0)
            assert passed or each.is_filler or repeat
        numbers.add(number)


@given(topics(), batches(), st.data())
def test_where_a_batch_is_cut_makes_no_difference(topic: Topic, records: list[Record], data: st.DataObject) -> None:
    known = data.draw(letters(records))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=4)))
    whole, pieces = plan_batch(topic, records, Position(), known), in_pieces(topic, records, cuts, known)
    assert tuple(arrival for plan in pieces for arrival in plan.arrivals) == whole.arrivals
    assert tuple(aside for plan in pieces for aside in plan.asides) == whole.asides
    assert tuple(letter for plan in pieces for letter in plan.resumed) == whole.resumed
    assert sum(plan.repeats for plan in pieces) == whole.repeats
    assert pieces[-1].after == whole.after
    assert pieces[-1].stop == whole.stop


@given(topics(), batches())
def test_a_plan_neither_changes_its_position_nor_goes_back(topic: Topic, records: list[Record]) -> None:
    before = Position(0, b"", {"rain": 2})
    plan = plan_batch(topic, records, before)
    assert before.numbers == {"rain": 2}
    assert plan.after.next_offset >= before.next_offset
    assert plan.after.numbers["rain"] >= 2
    assert plan.moves == (plan.after != before)


def test_the_position_behind_a_batch_proves_its_last_record() -> None:
    records = [record(n, item=str(n)) for n in range(3, 6)]
    assert plan_batch(BY_SOURCE, records, Position(3)).after == Position(6, record_hash(records[-1]), {})


def test_an_arrival_is_the_record_read() -> None:
    (arrival,) = plan_batch(BY_SOURCE, [record(7, item="one")], Position(7)).arrivals
    assert arrival.received.event == Drop(bucket="b", amount=1)
    assert (arrival.received.key, arrival.received.offset, arrival.received.stamp_ms) == ("b", 7, 1)
    assert arrival.received.value == b'{"bucket":"b","amount":1}'
    assert arrival.item is not None
    assert arrival.item.identity == "one"


def test_poisons_number_counts_as_seen() -> None:
    topic = replace(BY_PROCESS, poison="aside")
    plan = plan_batch(topic, [record(0, number=1, value=b"{"), record(1, number=2)], Position())
    assert [letter.offset for letter, _ in plan.asides] == [0]
    assert [arrival.received.offset for arrival in plan.arrivals] == [1]


def test_a_gap_stops_even_where_poison_is_set_aside() -> None:
    topic = replace(BY_PROCESS, poison="aside")
    plan = plan_batch(topic, [record(0, number=1), record(1, number=3)], Position())
    assert isinstance(plan.stop, Stop)
    assert plan.stop.reason == "gap"
    assert "rain 3 follows 2; seen was 1" in plan.stop.detail


def test_a_skipped_gap_is_passed_and_its_number_counts() -> None:
    records = [record(0, number=1), record(1, number=3), record(2, number=4)]
    skipped = replace(dead_letter(records[1], "gap", "stopped"), state="skipped")
    plan = plan_batch(BY_PROCESS, records, Position(), {1: skipped})
    assert [arrival.received.offset for arrival in plan.arrivals] == [0, 2]
    assert plan.stop is None


def test_a_stopped_record_that_can_be_read_now_is_resumed() -> None:
    first = record(0, item="one")
    plan = plan_batch(BY_SOURCE, [first], Position(), {0: dead_letter(first, "wrong_fields", "stopped")})
    assert [letter.state for letter in plan.resumed] == ["resumed"]
    assert len(plan.arrivals) == 1


@pytest.mark.parametrize("written", [Written.BY_SOURCE, Written.BY_ANYONE])
def test_a_number_on_a_topic_that_is_not_numbered_means_nothing(written: Written) -> None:
    topic = drops_topic("tally", written=written, items_kept=False)
    plan = plan_batch(topic, [record(0, number=5), record(1, number=5), record(2, number=99)], Position())
    assert len(plan.arrivals) == 3
    assert plan.after.numbers == {}
