"""What every ``Feed`` promises. A subclass supplies the fixtures; memory's gaps are strict expected failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from millpond.stream.feed import Feed
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record
from stream.log_contract import WITHIN_S, World, offsets, outbound

# How often nothing is to come before we believe that nothing comes.
QUIET_POLLS = 5
POLL_S = 0.1

Join = Callable[[], Awaitable[Feed]]


async def take(feed: Feed, count: int) -> dict[Place, list[Record]]:
    """Polls until so many records have come, by place."""
    found: dict[Place, list[Record]] = {}
    async with asyncio.timeout(WITHIN_S):
        while sum(map(len, found.values())) < count:
            for place, records in (await feed.poll(POLL_S)).items():
                found.setdefault(place, []).extend(records)
    return found


async def nothing_comes(feed: Feed) -> bool:
    polls = [await feed.poll(POLL_S) for _ in range(QUIET_POLLS)]
    return not any(polls)


@asynccontextmanager
async def polled(feed: Feed) -> AsyncIterator[None]:
    """Keeps polling beside the test, as a member's process does."""

    async def poll() -> None:
        while True:
            await feed.poll(POLL_S)

    polling = asyncio.create_task(poll())
    try:
        yield
    finally:
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)


class FeedContract:
    """Fixtures of a subclass: ``world``; a ``feed`` of all its places without a group; ``join``, a new group's members."""

    async def test_records_come_in_order_from_the_beginning(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(n) for n in range(30)])
        await world.write(world.there, [outbound(n) for n in range(20)])
        found = await take(feed, 50)
        assert offsets(found[world.here]) == list(range(30))
        assert offsets(found[world.there]) == list(range(20))
        await world.write(world.here, [outbound(30)])
        assert offsets((await take(feed, 1))[world.here]) == [30]

    async def test_nothing_new_is_no_error(self, world: World, feed: Feed) -> None:
        assert await nothing_comes(feed)

    async def test_all_places_are_ours(self, world: World, feed: Feed) -> None:
        assert feed.assigned() == {world.here, world.there}

    async def test_one_can_go_back_and_forward(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(n) for n in range(10)])
        await take(feed, 10)
        feed.seek(world.here, 7)
        assert offsets((await take(feed, 3))[world.here]) == [7, 8, 9]
        feed.seek(world.here, 0)
        feed.seek(world.here, 9)
        assert offsets((await take(feed, 1))[world.here]) == [9]

    async def test_what_is_not_ours_is_left_alone(self, world: World, feed: Feed) -> None:
        stranger = Place(world.here.topic, 77)
        feed.seek(stranger, 5)
        feed.pause(stranger)
        feed.resume(stranger)
        assert feed.assigned() == {world.here, world.there}

    async def test_a_paused_place_waits_and_the_others_go_on(self, world: World, feed: Feed) -> None:
        feed.pause(world.here)
        await world.write(world.here, [outbound(1)])
        await world.write(world.there, [outbound(2)])
        assert set(await take(feed, 1)) == {world.there}
        assert await nothing_comes(feed)
        feed.resume(world.here)
        assert offsets((await take(feed, 1))[world.here]) == [0]

    async def test_a_paused_place_can_be_moved(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(n) for n in range(5)])
        await take(feed, 5)
        feed.pause(world.here)
        feed.seek(world.here, 3)
        assert await nothing_comes(feed)
        feed.resume(world.here)
        assert offsets((await take(feed, 2))[world.here]) == [3, 4]

    async def test_extents_say_what_the_log_holds(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(n) for n in range(5)])
        await world.expire(world.here, 2)
        assert await feed.extents([world.here, world.there]) == {world.here: Extent(2, 5), world.there: Extent(0, 0)}
        assert await feed.extents([]) == {}

    async def test_what_holds_no_data_is_passed(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(1)])
        await world.write_control_record(world.here)
        end = (await feed.extents([world.here]))[world.here].end
        assert offsets((await take(feed, 1))[world.here])[0] == 0
        async with asyncio.timeout(WITHIN_S):
            while await feed.fetched_up_to(world.here) < end:
                await feed.poll(POLL_S)
        assert await feed.fetched_up_to(world.here) == end

    async def test_out_of_what_is_kept_it_begins_anew(self, world: World, feed: Feed) -> None:
        await world.write(world.here, [outbound(n) for n in range(5)])
        await take(feed, 5)
        await world.expire(world.here, 3)
        feed.seek(world.here, 1)
        assert offsets((await take(feed, 2))[world.here]) == [3, 4]
        feed.seek(world.here, 50)
        assert offsets((await take(feed, 2))[world.here]) == [3, 4]

    async def test_members_of_a_group_share_the_places(self, world: World, join: Join) -> None:
        first, forgotten = await join(), asyncio.Event()
        first.on_reassignment(forgotten.set)
        async with asyncio.timeout(WITHIN_S):
            while first.assigned() != {world.here, world.there}:
                await first.poll(POLL_S)
            forgotten.clear()
            second = await join()
            async with polled(second):
                # In between both may believe to have a place: aiokafka tells the first when it asks next.
                while not second.assigned() or first.assigned() & second.assigned():
                    await first.poll(POLL_S)
        assert first.assigned() | second.assigned() == {world.here, world.there}
        assert not first.assigned() & second.assigned()
        assert forgotten.is_set()
