"""What every ``Log`` and every ``Publisher`` promises. A subclass supplies the ``world`` they are in."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import pytest

from millpond.stream.feed import LogAway
from millpond.stream.log import Log, LogEndsBefore, Outbound, Publisher, RecordsExpired
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record

# Bounds that only something hanging reaches.
WITHIN_S = 120.0


def outbound(number: int, **changes: Any) -> Outbound:
    facts = {"key": b"k", "value": str(number).encode(), "headers": (("ce_id", b"1"),), "timestamp_ms": 1_000 + number}
    return Outbound(**{**facts, **changes})


class World(Protocol):
    """One topic with two partitions, ``here`` and ``there``, and what can happen to it."""

    here: Place
    there: Place
    log: Log

    async def write(self, place: Place, records: Sequence[Outbound]) -> None: ...

    async def write_control_record(self, place: Place) -> None:
        """An offset without data."""

    async def expire(self, place: Place, beginning: int) -> None: ...


async def read(log: Log, place: Place, start: int, stop: int) -> list[Record]:
    async with asyncio.timeout(WITHIN_S):
        return [record async for record in log.read(place, start, stop)]


def offsets(records: Sequence[Record]) -> list[int]:
    return [record.offset for record in records]


class LogContract:
    """Fixtures of a subclass: ``world``; ``away``, a log whose broker doesn't answer; ``write_aborted``."""

    async def test_a_range_is_half_open(self, world: World) -> None:
        await world.write(world.here, [outbound(n) for n in range(10)])
        assert offsets(await read(world.log, world.here, 2, 5)) == [2, 3, 4]
        assert offsets(await read(world.log, world.here, 0, 10)) == list(range(10))
        assert offsets(await read(world.log, world.here, 9, 10)) == [9]

    async def test_a_range_of_nothing_holds_nothing(self, world: World) -> None:
        await world.write(world.here, [outbound(1)])
        for start, stop in ((0, 0), (1, 1), (1, 0), (50, 50)):
            assert await read(world.log, world.here, start, stop) == []

    async def test_a_record_comes_back_verbatim(self, world: World) -> None:
        headers = (("ce_type", b"Drop"), ("twice", b"1"), ("twice", b"\x00\xff"), ("empty", b""), ("é", b"1"))
        written = [
            outbound(1, headers=headers, timestamp_ms=1_700_000_000_123),
            outbound(2, value=None, headers=()),
            outbound(3, key=None, value=b""),
            outbound(4, key=b"\x00\xff", value=b"\xff" * 300_000),
        ]
        await world.write(world.here, written)
        found = await read(world.log, world.here, 0, 4)
        assert [Outbound(r.key, r.value, tuple(r.headers), r.timestamp_ms) for r in found] == written
        assert [(r.place, r.offset) for r in found] == [(world.here, n) for n in range(4)]

    async def test_places_have_records_of_their_own(self, world: World) -> None:
        await world.write(world.here, [outbound(1)])
        await world.write(world.there, [outbound(2), outbound(3)])
        assert [r.value for r in await read(world.log, world.there, 0, 2)] == [b"2", b"3"]

    async def test_a_control_record_is_passed_over(self, world: World) -> None:
        await world.write(world.here, [outbound(1)])
        await world.write_control_record(world.here)
        end = (await world.log.extents([world.here]))[world.here].end
        found = await read(world.log, world.here, 0, end)
        assert found[0].offset == 0
        assert end - 1 not in offsets(found)
        assert await read(world.log, world.here, end - 1, end) == []

    async def test_what_was_aborted_is_not_shown(self, world: World, write_aborted: Any) -> None:
        await world.write(world.here, [outbound(1)])
        await write_aborted(world.here, outbound(666))
        await world.write(world.here, [outbound(2)])
        end = (await world.log.extents([world.here]))[world.here].end
        assert [r.value for r in await read(world.log, world.here, 0, end)] == [b"1", b"2"]

    async def test_expired_records_are_an_error_not_a_gap(self, world: World) -> None:
        await world.write(world.here, [outbound(n) for n in range(6)])
        await world.expire(world.here, 3)
        with pytest.raises(RecordsExpired) as expired:
            await read(world.log, world.here, 2, 5)
        assert expired.value.facts == {"place": world.here, "start": 2, "beginning": 3}
        assert offsets(await read(world.log, world.here, 3, 6)) == [3, 4, 5]

    async def test_what_is_not_there_yet_is_an_error_not_a_shorter_answer(self, world: World) -> None:
        await world.write(world.here, [outbound(1), outbound(2)])
        with pytest.raises(LogEndsBefore) as short:
            await read(world.log, world.here, 0, 3)
        assert short.value.facts == {"place": world.here, "stop": 3, "end": 2}

    async def test_extents_say_what_is_kept(self, world: World) -> None:
        await world.write(world.here, [outbound(n) for n in range(4)])
        await world.write(world.there, [outbound(1)])
        await world.expire(world.here, 2)
        nowhere = Place(world.here.topic, 77), Place("no.such.v1", 0)
        assert await world.log.extents([world.here, world.there, *nowhere]) == {
            world.here: Extent(2, 4),
            world.there: Extent(0, 1),
            nowhere[0]: Extent(0, 0),
            nowhere[1]: Extent(0, 0),
        }
        assert await world.log.extents([]) == {}

    async def test_partitions_are_counted(self, world: World) -> None:
        await world.write(world.there, [outbound(1)])
        assert await world.log.partitions([world.here.topic, "no.such.v1"]) == {world.here.topic: 2, "no.such.v1": 0}

    async def test_reads_do_not_disturb_each_other(self, world: World) -> None:
        await world.write(world.here, [outbound(n) for n in range(20)])
        ranges = [(0, 20), (5, 10), (19, 20)]
        found = await asyncio.gather(*(read(world.log, world.here, *each) for each in ranges))
        assert [offsets(records) for records in found] == [list(range(*each)) for each in ranges]

    async def test_a_broker_that_does_not_answer_is_away(self, world: World, away: Log) -> None:
        with pytest.raises(LogAway):
            await away.partitions([world.here.topic])
        with pytest.raises(LogAway):
            await away.extents([world.here])
        with pytest.raises(LogAway):
            await read(away, world.here, 0, 1)


class PublisherContract:
    """Fixtures of a subclass: ``world`` and a ``publisher`` to it."""

    async def test_what_is_acknowledged_is_on_the_log(self, world: World, publisher: Publisher) -> None:
        acknowledged = await publisher.send(world.here, [outbound(1), outbound(2)])
        assert await acknowledged == 2
        assert await (await publisher.send(world.here, [outbound(3)])) == 3
        assert await (await publisher.send(world.there, [outbound(4)])) == 1
        assert [r.value for r in await read(world.log, world.here, 0, 3)] == [b"1", b"2", b"3"]

    async def test_what_is_queued_behind_stays_behind(self, world: World, publisher: Publisher) -> None:
        sends = [await publisher.send(world.here, [outbound(n), outbound(n + 1)]) for n in range(0, 100, 2)]
        assert await asyncio.gather(*sends) == list(range(2, 101, 2))
        found = await read(world.log, world.here, 0, 100)
        assert [r.value for r in found] == [str(n).encode() for n in range(100)]

    async def test_a_record_larger_than_a_batch_goes_too(self, world: World, publisher: Publisher) -> None:
        large = [outbound(n, value=bytes([n]) * 400_000) for n in range(3)]
        assert await (await publisher.send(world.here, [outbound(9), *large, outbound(9)])) == 5
        assert [r.value for r in await read(world.log, world.here, 1, 4)] == [each.value for each in large]

    async def test_closing_twice_is_allowed(self, publisher: Publisher) -> None:
        await publisher.close()
        await publisher.close()
