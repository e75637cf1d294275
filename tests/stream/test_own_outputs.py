"""A service's own records on its topics: each number once, in the order of decision, and never past a hole."""

from __future__ import annotations

import json

import pytest

from millpond.stream.database import NumberedRow, OutboxRow
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryLog
from millpond.stream.record import FILLER, Place
from millpond.stream.recovery.own_outputs import OutputMissing, Published, published_at, published_in_order
from millpond.stream.relay import to_outbound

LEFT, RIGHT = Place("mill.left.v1", 0), Place("mill.right.v1", 0)


def flour(number: int, previous: int, place: Place = LEFT, source: str = "mill", item: str | None = None) -> Outbound:
    headers = json.dumps([["read", f"grain.v1 0 {number}"], *([["item", item]] if item else [])])
    row = OutboxRow(place.topic, place.partition, b"k", b'{"n": %d}' % number, "Flour", 1_000 + number, headers)
    return to_outbound(source, NumberedRow(number, row), previous)


def written(log: MemoryLog, place: Place, *records: Outbound) -> None:
    for record in records:
        log.append(place, record)


async def found(log: MemoryLog, place: Place = LEFT) -> list[Published]:
    return [each async for each in published_at("mill", place, log.extent(place), log)]


async def test_a_relays_repeats_others_records_and_fillers_are_passed_over() -> None:
    log = MemoryLog()
    filler = Outbound(None, None, ((FILLER, b"no data"),), 0)
    other = flour(2, 0, source="windmill")
    written(log, LEFT, flour(1, 0), flour(4, 1), other, flour(1, 0), flour(4, 1), filler, flour(6, 4), flour(6, 4))
    published = await found(log)
    assert [each.number for each in published] == [1, 4, 6]
    assert [each.covered for each in published] == [{Place("grain.v1", 0): n} for n in (1, 4, 6)]
    assert all(each.is_sent_alike("mill") for each in published)


async def test_an_item_is_no_part_of_what_was_decided_at_once_but_is_sent_again_with_its_record() -> None:
    log = MemoryLog()
    written(log, LEFT, flour(1, 0, item="a"), flour(2, 1, item="b"))
    one, other = await found(log)
    assert one.shared == (("read", b"grain.v1 0 1"),)
    assert json.loads(other.numbered_row.row.headers) == [["read", "grain.v1 0 2"], ["item", "b"]]
    assert one.is_sent_alike("mill")


async def test_all_places_together_are_in_the_order_of_decision() -> None:
    log = MemoryLog()
    written(log, LEFT, flour(1, 0), flour(4, 1), flour(5, 4))
    written(log, RIGHT, flour(2, 0, RIGHT), flour(3, 2, RIGHT), flour(9, 3, RIGHT))
    extents = {place: log.extent(place) for place in (RIGHT, LEFT)}
    assert [each.number async for _, each in published_in_order("mill", extents, log)] == [1, 2, 3, 4, 5, 9]


async def test_a_hole_is_an_error() -> None:
    log = MemoryLog()
    written(log, LEFT, flour(1, 0), flour(6, 4))
    with pytest.raises(OutputMissing, match="says that 4 stands before it"):
        await found(log)


async def test_what_has_expired_and_what_a_restore_has_filled_is_no_hole() -> None:
    expired, filled = MemoryLog(), MemoryLog()
    written(expired, LEFT, flour(1, 0), flour(4, 1), flour(6, 4))
    expired.expire(LEFT, 1)
    written(filled, LEFT, Outbound(None, None, ((FILLER, b"expired"),), 0), flour(4, 1), flour(6, 4))
    for log in (expired, filled):
        assert [each.number for each in await found(log)] == [4, 6]
