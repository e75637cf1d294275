"""What every ``Database`` promises. A subclass supplies the fixtures; what it can't keep is a strict expected failure.

Expectations are written by hand: computed from a helper that both sides share, both could be wrong together.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from millpond.stream.database import (
    WHOLE_SERVICE,
    Database,
    DatabaseAway,
    DeadLetter,
    Item,
    Lease,
    LeaseLost,
    Move,
    OutboxRow,
    PositionMoved,
    RelayProgress,
)
from millpond.stream.decision import Timer
from millpond.stream.position import Position
from millpond.stream.record import Place

A0, A1, B0 = Place("a.rain.v1", 0), Place("a.rain.v1", 1), Place("b.rain.v1", 0)
# How long something is watched that must not happen; what must happen is waited for much longer.
WATCHED_S = 0.1
WITHIN_S = 120.0

PassTime = Callable[[float], Awaitable[None]]


def moved(place: Place, start: int, end: int) -> Move:
    return Move(place, Position(start), Position(end, b"\x01" * 32, {"edge": end}))


def row(number: int, **changes: Any) -> OutboxRow:
    facts = {"topic": "x.levels.v1", "partition": 0, "key": b"k", "event_type": "Level", "time_ms": 1, "headers": "[]"}
    return OutboxRow(**{**facts, "value": str(number).encode(), **changes})


def letter(offset: int = 7, **changes: Any) -> DeadLetter:
    facts: dict[str, Any] = {
        "place": A0,
        "offset": offset,
        "key": b"\xff",
        "value": None,
        "headers": (("ce_type", b"Drop"), ("ce_type", b"\xfe"), ("empty", None)),
        "timestamp_ms": 5,
        "content_hash": b"\x02" * 32,
        "reason": "null_value",
        "state": "stopped",
    }
    return DeadLetter(**{**facts, **changes})


def item(identity: str, content: bytes = b"1", topic: str = "a.rain.v1") -> Item:
    return Item(topic, identity, content * 32)


async def advance(database: Database, *moves: Move) -> None:
    await database.positions([move.place for move in moves])
    async with database.transaction() as transaction:
        await transaction.advance(moves)


async def publish(database: Database, *rows: OutboxRow) -> None:
    async with database.transaction() as transaction:
        await transaction.put_outbox(rows)


async def lead(database: Database, name: str = "relay", owner: str = "one") -> Lease:
    lease = await database.try_lease(name, owner, 60)
    assert lease is not None
    return lease


async def admit(database: Database, *items: Item) -> Sequence[str]:
    async with database.transaction() as transaction:
        return await transaction.admit(items)


async def put_letters(database: Database, *letters: DeadLetter) -> list[bool]:
    async with database.transaction() as transaction:
        return await transaction.put_dead_letters(letters)


async def set_timers(database: Database, *timers: Timer, scope: Place = A0) -> None:
    async with database.transaction() as transaction:
        await transaction.set_timers(scope, timers)


async def take_timers(database: Database, now_ms: int, scope: Place = A0) -> tuple[int, list[str]]:
    async with database.transaction() as transaction:
        return await transaction.take_timers(scope, now_ms)


async def patiently(act: Callable[[], Awaitable[None]]) -> None:
    """As a service does: whoever waits for a frozen one's lock may be told "away" himself, and asks again."""
    while True:
        try:
            return await act()
        except DatabaseAway:
            await asyncio.sleep(0.05)


class Held:
    """A transaction that is kept open beside the test."""

    def __init__(self, database: Database, work: Callable[[Any], Awaitable[object]]) -> None:
        self._database = database
        self._work = work
        self._open = asyncio.Event()
        self._end = asyncio.Event()
        self._fails = False

    async def __aenter__(self) -> Held:
        self._task = asyncio.create_task(self._hold())
        await asyncio.wait({self._task, asyncio.ensure_future(self._open.wait())}, return_when="FIRST_COMPLETED")
        if self._task.done():
            await self._task
        return self

    async def _hold(self) -> None:
        async with self._database.transaction() as transaction:
            await self._work(transaction)
            self._open.set()
            await self._end.wait()
            if self._fails:
                raise ZeroDivisionError

    async def commit(self) -> None:
        self._end.set()
        await self._task

    async def roll_back(self) -> None:
        self._fails = True
        self._end.set()
        with pytest.raises(ZeroDivisionError):
            await self._task

    async def __aexit__(self, *_: object) -> None:
        self._end.set()
        await asyncio.gather(self._task, return_exceptions=True)


async def waits(task: asyncio.Task[Any]) -> bool:
    """Whether the task is still not done after a while."""
    await asyncio.wait({task}, timeout=WATCHED_S)
    return not task.done()


class DatabaseContract:
    """Fixtures of a subclass: ``db``; ``another`` process's view of the same; ``pass_time``; ``cut_off``: it goes away."""

    # Transactions

    async def test_a_transaction_that_raises_leaves_nothing(self, db: Database) -> None:
        await advance(db, moved(A0, 0, 3))
        await put_letters(db, letter())
        await set_timers(db, Timer("t", 5))

        async def change_everything(transaction: Any) -> None:
            await transaction.advance([moved(A0, 3, 9)])
            await transaction.admit([item("one")])
            await transaction.take_timers(A0, 10)
            await transaction.set_timers(A0, [Timer("u", 5)])
            await transaction.put_dead_letters([letter(state="skipped"), letter(8)])
            await transaction.put_nonce("0x1", "t", "k", 5)
            await transaction.put_outbox([row(1)])

        async with Held(db, change_everything) as held:
            await held.roll_back()
        assert (await db.positions([A0]))[A0].next_offset == 3
        assert await admit(db, item("one")) == ["first"]
        assert await db.dead_letters_from(A0, 0) == {7: letter()}
        assert await db.outbox_after(0, 10) == []
        assert await take_timers(db, 10) == (10, ["t"])
        async with db.transaction() as transaction:
            assert await transaction.last_nonce("0x1", "t", "k") is None

    async def test_a_transaction_that_is_cancelled_leaves_nothing(self, db: Database) -> None:
        async with Held(db, lambda transaction: transaction.put_outbox([row(1)])) as held:
            held._task.cancel()
            await asyncio.gather(held._task, return_exceptions=True)
        assert await db.outbox_after(0, 10) == []

    async def test_one_that_goes_away_within_a_transaction_says_so(
        self, db: Database, cut_off: Callable[[], Any]
    ) -> None:
        async def write_to_what_has_gone() -> None:
            async with db.transaction() as transaction:
                await transaction.put_outbox([row(1)])
                await cut_off()
                await transaction.put_outbox([row(2)])

        with pytest.raises(DatabaseAway):
            await write_to_what_has_gone()

    async def test_a_frozen_process_does_not_keep_its_locks(self, db: Database, another: Database) -> None:
        await db.positions([A0])
        async with Held(db, lambda transaction: transaction.advance([moved(A0, 0, 3)])) as frozen:
            await asyncio.wait_for(patiently(lambda: advance(another, moved(A0, 0, 5))), WITHIN_S)
            with pytest.raises(DatabaseAway):
                await frozen.commit()
        assert (await db.positions([A0]))[A0].next_offset == 5

    # Positions

    async def test_a_place_never_read_is_at_the_start(self, db: Database) -> None:
        assert await db.positions([A0, B0]) == {A0: Position(0, b"", {}), B0: Position(0, b"", {})}

    async def test_a_position_is_kept_with_all_it_knows(self, db: Database) -> None:
        after = Position(2**40, b"\x00\xff" * 16, {"edge": 2**40, "réw ards": 1})
        await advance(db, Move(A0, Position(), after))
        assert await db.positions([A0, A1]) == {A0: after, A1: Position()}

    async def test_who_expects_another_position_takes_nothing(self, db: Database) -> None:
        await advance(db, moved(A0, 0, 3), moved(A1, 0, 3))
        with pytest.raises(PositionMoved) as refused:
            await advance(db, moved(A1, 3, 9), moved(A0, 2, 9))
        assert refused.value.facts["place"] == A0
        assert {p.next_offset for p in (await db.positions([A0, A1])).values()} == {3}

    async def test_a_place_without_a_position_is_not_ours(self, db: Database) -> None:
        with pytest.raises(PositionMoved):
            async with db.transaction() as transaction:
                await transaction.advance([moved(A0, 0, 3)])

    async def test_of_two_that_take_the_same_batch_one_does(self, db: Database) -> None:
        await db.positions([A0])
        async with Held(db, lambda transaction: transaction.advance([moved(A0, 0, 3)])) as held:
            second = asyncio.create_task(advance(db, moved(A0, 0, 3)))
            assert await waits(second)
            await held.commit()
        with pytest.raises(PositionMoved):
            await second

    async def test_a_batch_that_was_rolled_back_can_be_taken_by_another(self, db: Database) -> None:
        await db.positions([A0])
        async with Held(db, lambda transaction: transaction.advance([moved(A0, 0, 3)])) as held:
            second = asyncio.create_task(advance(db, moved(A0, 0, 5)))
            assert await waits(second)
            await held.roll_back()
        await second
        assert (await db.positions([A0]))[A0].next_offset == 5

    async def test_another_process_sees_the_same_positions(self, db: Database, another: Database) -> None:
        await advance(db, moved(A0, 0, 3))
        assert (await another.positions([A0]))[A0].next_offset == 3
        with pytest.raises(PositionMoved):
            await advance(another, moved(A0, 0, 3))

    # Keys

    async def test_who_locks_the_same_key_waits(self, db: Database) -> None:
        async def lock(*keys: str) -> None:
            async with db.transaction() as transaction:
                await transaction.lock(keys)

        async with Held(db, lambda transaction: transaction.lock(["one", "two"])) as held:
            second = asyncio.create_task(lock("two", "three"))
            assert await waits(second)
            await held.commit()
            await asyncio.wait_for(second, WITHIN_S)

    async def test_batches_that_lock_keys_crosswise_do_not_block_each_other_for_ever(self, db: Database) -> None:
        async def lock(keys: list[str]) -> None:
            async with db.transaction() as transaction:
                await transaction.lock(keys)

        keys = [f"key-{n}" for n in range(100)]
        turns = [lock(keys if n % 2 else keys[::-1]) for n in range(20)]
        await asyncio.wait_for(asyncio.gather(*turns), WITHIN_S)

    async def test_locking_nothing_is_allowed(self, db: Database) -> None:
        async with db.transaction() as transaction:
            await transaction.lock([])

    # Items

    async def test_an_item_counts_once_for_ever(self, db: Database) -> None:
        assert await admit(db, item("one"), item("two")) == ["first", "first"]
        assert await admit(db, item("two"), item("three"), item("one")) == ["duplicate", "first", "duplicate"]

    async def test_the_first_in_a_batch_counts(self, db: Database) -> None:
        batch = [item("one"), item("two"), item("one"), item("one", b"2"), item("two", b"1")]
        assert await admit(db, *batch) == ["first", "first", "duplicate", "conflict", "duplicate"]

    async def test_other_bytes_are_a_conflict_and_change_nothing(self, db: Database) -> None:
        await admit(db, item("one"))
        assert await admit(db, item("one", b"2"), item("one")) == ["conflict", "duplicate"]
        assert await admit(db, item("one", b"2")) == ["conflict"]

    async def test_an_identity_belongs_to_its_topic(self, db: Database) -> None:
        await admit(db, item("one"))
        assert await admit(db, item("one", b"2", topic="b.rain.v1")) == ["first"]

    async def test_admitting_nothing_is_allowed(self, db: Database) -> None:
        assert await admit(db) == []

    @pytest.mark.parametrize(("fate", "verdict"), [("commit", "duplicate"), ("roll_back", "first")])
    async def test_an_item_under_way_elsewhere_is_waited_for(self, db: Database, fate: str, verdict: str) -> None:
        async with Held(db, lambda transaction: transaction.admit([item("one")])) as held:
            second = asyncio.create_task(admit(db, item("one")))
            assert await waits(second)
            await getattr(held, fate)()
        assert await second == [verdict]

    async def test_items_admitted_crosswise_do_not_block_each_other_for_ever(self, db: Database) -> None:
        items = [item(f"item-{n}") for n in range(50)]
        turns = [admit(db, *(items if n % 2 else items[::-1])) for n in range(10)]
        verdicts = await asyncio.wait_for(asyncio.gather(*turns), WITHIN_S)
        assert sum(each.count("first") for each in verdicts) == 50

    # Timers

    async def test_what_is_due_is_taken_once_and_in_order(self, db: Database) -> None:
        await set_timers(db, Timer("late", 30), Timer("b", 10), Timer("a", 10), Timer("first", 5))
        assert await take_timers(db, 10) == (10, ["first", "a", "b"])
        assert await take_timers(db, 29) == (29, [])
        assert await take_timers(db, 30) == (30, ["late"])

    async def test_a_timer_can_be_set_again_and_taken_back(self, db: Database) -> None:
        await set_timers(db, Timer("moved", 5), Timer("gone", 5), Timer("kept", 5))
        await set_timers(db, Timer("moved", 20), Timer("gone", None), Timer("never was", None))
        assert await take_timers(db, 10) == (10, ["kept"])
        assert await take_timers(db, 20) == (20, ["moved"])

    async def test_of_what_one_decision_says_about_a_timer_the_last_counts(self, db: Database) -> None:
        await set_timers(db, Timer("a", 5), Timer("a", None), Timer("b", None), Timer("b", 5), Timer("c", 1))
        await set_timers(db, Timer("c", 50), Timer("c", 7))
        assert await take_timers(db, 10) == (10, ["b", "c"])

    async def test_setting_nothing_is_allowed(self, db: Database) -> None:
        await set_timers(db)
        assert await take_timers(db, 10) == (10, [])

    async def test_a_tick_never_goes_back(self, db: Database) -> None:
        await set_timers(db, Timer("a", 5))
        assert await take_timers(db, 1_000) == (1_000, ["a"])
        # Another machine's clock, or this one after it was set back.
        await set_timers(db, Timer("b", 5))
        assert await take_timers(db, 400) == (1_000, ["b"])
        await set_timers(db, Timer("c", 5))
        assert await take_timers(db, 1_001) == (1_001, ["c"])

    async def test_scopes_have_timers_and_clocks_of_their_own(self, db: Database) -> None:
        await set_timers(db, Timer("a", 5), scope=A0)
        await set_timers(db, Timer("a", 6), scope=WHOLE_SERVICE)
        assert set(await db.timers_due(5)) == {A0}
        assert set(await db.timers_due(6)) == {A0, WHOLE_SERVICE}
        assert await take_timers(db, 90, WHOLE_SERVICE) == (90, ["a"])
        assert await take_timers(db, 50, A0) == (50, ["a"])
        assert await db.timers_due(100) == []

    async def test_a_timer_goes_off_once_when_two_look(self, db: Database) -> None:
        await set_timers(db, Timer("a", 5))
        async with Held(db, lambda transaction: transaction.take_timers(A0, 10)) as held:
            second = asyncio.create_task(take_timers(db, 11))
            assert await waits(second)
            await held.commit()
        assert await second == (11, [])

    # Dead letters

    async def test_a_dead_letter_is_kept_verbatim(self, db: Database) -> None:
        kept = letter(value=b"\x00not json", headers=(("a", b"\x00"), ("a", None), ("é", b"")))
        await put_letters(db, kept)
        assert await db.dead_letters_from(A0, 0) == {7: kept}
        async with db.transaction() as transaction:
            assert await transaction.find_dead_letter(A0, 7) == kept
            assert await transaction.find_dead_letter(A1, 7) is None

    async def test_a_dead_letter_is_new_once_per_state(self, db: Database) -> None:
        assert await put_letters(db, letter(), letter(8, state="aside")) == [True, True]
        assert await put_letters(db, letter(), letter(9)) == [False, True]
        assert await put_letters(db, letter(state="skipped")) == [True]
        assert (await db.dead_letters_from(A0, 0))[7].state == "skipped"

    async def test_dead_letters_are_found_from_an_offset_on(self, db: Database) -> None:
        await put_letters(db, letter(3), letter(7), letter(9, place=A1))
        assert set(await db.dead_letters_from(A0, 4)) == {7}
        assert set(await db.dead_letters_from(A0, 7)) == {7}
        assert await db.dead_letters_from(A0, 8) == {}

    # Nonces

    async def test_a_nonce_is_kept_by_signer_topic_and_key(self, db: Database) -> None:
        async with db.transaction() as transaction:
            assert await transaction.last_nonce("0x1", "t", "k") is None
            await transaction.put_nonce("0x1", "t", "k", 5)
            await transaction.put_nonce("0x1", "t", "k", 2**256 - 1)
        async with db.transaction() as transaction:
            assert await transaction.last_nonce("0x1", "t", "k") == 2**256 - 1
            for other in (("0x2", "t", "k"), ("0x1", "u", "k"), ("0x1", "t", "l")):
                assert await transaction.last_nonce(*other) is None

    # The outbox

    async def test_the_outbox_gives_back_what_was_put_in_order(self, db: Database) -> None:
        first = row(1, key=b"\x00\xff", time_ms=2**50, headers=json.dumps([["read", "a 0 5"]]), partition=11)
        await publish(db, first, row(2))
        await publish(db, row(3))
        found = await db.outbox_after(0, 10)
        assert [each.row for each in found] == [first, row(2), row(3)]
        numbers = [each.number for each in found]
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0
        assert await db.outbox_end() == numbers[-1]
        assert await db.outbox_after(0, 2) == found[:2]
        assert await db.outbox_after(numbers[0], 10) == found[1:]
        assert await db.outbox_after(numbers[-1], 10) == []

    async def test_publishing_nothing_is_allowed(self, db: Database) -> None:
        await publish(db)
        assert await db.outbox_end() == 0
        assert await db.outbox_after(0, 10) == []

    async def test_numbers_are_in_commit_order(self, db: Database) -> None:
        # Whoever has seen a number never sees a lower one appear: nothing is given while another's is not committed.
        async with Held(db, lambda transaction: transaction.put_outbox([row(1)])) as held:
            second = asyncio.create_task(publish(db, row(2)))
            assert await waits(second)
            assert await db.outbox_after(0, 10) == []
            assert await db.outbox_end() == 0
            await held.commit()
        await second
        assert [each.row.value for each in await db.outbox_after(0, 10)] == [b"1", b"2"]

    async def test_an_aborted_transactions_number_is_nobodys(self, db: Database) -> None:
        await publish(db, row(1))
        async with Held(db, lambda transaction: transaction.put_outbox([row(2)])) as held:
            await held.roll_back()
        await publish(db, row(3))
        found = await db.outbox_after(0, 10)
        assert [each.row.value for each in found] == [b"1", b"3"]
        assert found[0].number < found[1].number

    async def test_what_waits_to_be_published_is_known(self, db: Database) -> None:
        assert await db.outbox_depth() == (0, 0.0)
        await publish(db, *(row(n) for n in range(5)))
        assert (await db.outbox_depth())[0] == 5
        third = (await db.outbox_after(0, 10))[2].number
        await db.mark_published(await lead(db), {}, third)
        assert (await db.outbox_depth())[0] == 2

    @pytest.mark.parametrize("time_ms", [1, 2**50])
    async def test_how_long_it_waits_is_counted_from_when_it_was_written(self, db: Database, time_ms: int) -> None:
        """A service that reads what it missed decides in the time of then."""
        await publish(db, row(1, time_ms=time_ms))
        await asyncio.sleep(0.01)
        waits, age_s = await db.outbox_depth()
        assert waits == 1
        assert 0 <= age_s < 600

    async def test_an_announcement_is_heard_until_one_stops_listening(self, db: Database) -> None:
        await self._hears(db, db)

    async def test_an_announcement_of_another_process_is_heard(self, db: Database, another: Database) -> None:
        await self._hears(db, another)

    async def _hears(self, listener: Database, speaker: Database) -> None:
        heard: asyncio.Queue[None] = asyncio.Queue()
        async with listener.listen(lambda: heard.put_nowait(None)):
            await speaker.announce()
            await asyncio.wait_for(heard.get(), 1.0)
        await speaker.announce()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(heard.get(), WATCHED_S)

    # What the relay knows

    async def test_what_was_acknowledged_is_remembered(self, db: Database) -> None:
        assert await db.relay_progress() == {}
        assert await db.published_up_to() == 0
        lease = await lead(db)
        await db.mark_published(lease, {A0: RelayProgress(5, 3), A1: RelayProgress(1, 2)}, 3)
        await db.mark_published(lease, {A0: RelayProgress(9, 7)}, 7)
        assert await db.relay_progress() == {A0: RelayProgress(9, 7), A1: RelayProgress(1, 2)}
        assert await db.published_up_to() == 7

    async def test_the_mark_never_goes_back(self, db: Database) -> None:
        lease = await lead(db)
        await db.mark_published(lease, {}, 7)
        await db.mark_published(lease, {}, 5)
        assert await db.published_up_to() == 7

    async def test_the_mark_counts_as_given(self, db: Database) -> None:
        # Published rows may have been pruned.
        await db.mark_published(await lead(db), {}, 7)
        assert await db.outbox_end() == 7

    async def test_who_has_lost_the_relays_lease_marks_nothing(self, db: Database, pass_time: PassTime) -> None:
        old = await lead(db)
        await pass_time(0.02)
        assert await db.try_lease("relay", "two", 0.01)
        with pytest.raises(LeaseLost):
            await db.mark_published(old, {A0: RelayProgress(5, 3)}, 3)
        assert await db.relay_progress() == {}
        assert await db.published_up_to() == 0

    # Leases

    async def test_a_lease_is_one_processs_while_it_renews(self, db: Database, pass_time: PassTime) -> None:
        lease = await lead(db)
        assert (lease.name, lease.epoch, lease.owner) == ("relay", 1, "one")
        for _ in range(3):
            await pass_time(0.15)
            await db.renew_lease(lease)
        assert await db.try_lease("relay", "two", 0.3) is None
        assert await db.try_lease("relay", "one", 0.3) is None
        assert await db.try_lease("active", "two", 0.3) == Lease("active", 1, "two")

    async def test_a_silent_holder_is_succeeded_in_a_new_epoch(self, db: Database, pass_time: PassTime) -> None:
        old = await lead(db)
        await pass_time(0.2)
        new = await db.try_lease("relay", "two", 0.1)
        assert new == Lease("relay", 2, "two")
        with pytest.raises(LeaseLost):
            await db.renew_lease(old)
        with pytest.raises(LeaseLost):
            async with db.transaction() as transaction:
                await transaction.hold_lease(old)
        async with db.transaction() as transaction:
            await transaction.hold_lease(new)

    async def test_a_lease_that_is_let_go_is_free_at_once(self, db: Database) -> None:
        await db.release_lease(await lead(db))
        assert await db.try_lease("relay", "two", 60) == Lease("relay", 2, "two")

    async def test_whoever_lost_a_lease_cannot_let_it_go(self, db: Database) -> None:
        old = await lead(db)
        await db.release_lease(old)
        await lead(db, owner="two")
        await db.release_lease(old)
        assert await db.try_lease("relay", "three", 60) is None

    async def test_of_many_that_want_a_lease_one_gets_it(self, db: Database) -> None:
        taken = await asyncio.gather(*(db.try_lease("relay", f"owner-{n}", 60) for n in range(8)))
        assert len([lease for lease in taken if lease is not None]) == 1

    async def test_a_takeover_waits_for_the_holders_transaction(self, db: Database, pass_time: PassTime) -> None:
        old = await lead(db)
        await pass_time(0.02)

        async def decide(transaction: Any) -> None:
            await transaction.hold_lease(old)
            await transaction.put_outbox([row(1)])

        async with Held(db, decide) as held:
            takeover = asyncio.create_task(db.try_lease("relay", "two", 0.01))
            assert await waits(takeover)
            await held.commit()
        assert await takeover == Lease("relay", 2, "two")

    async def test_a_renewal_does_not_wait_for_the_holders_transaction(self, db: Database) -> None:
        lease = await lead(db)
        async with Held(db, lambda transaction: transaction.hold_lease(lease)):
            await asyncio.wait_for(db.renew_lease(lease), 1.0)

    async def test_an_unknown_lease_is_nobodys(self, db: Database) -> None:
        stranger = Lease("relay", 1, "one")
        with pytest.raises(LeaseLost):
            await db.renew_lease(stranger)
        with pytest.raises(LeaseLost):
            async with db.transaction() as transaction:
                await transaction.hold_lease(stranger)
        await db.release_lease(stranger)

    async def test_a_lease_is_not_another_owners_of_the_same_epoch(self, db: Database) -> None:
        lease = await lead(db)
        with pytest.raises(LeaseLost):
            async with db.transaction() as transaction:
                await transaction.hold_lease(replace(lease, owner="two"))

    async def test_another_process_sees_the_lease(self, db: Database, another: Database) -> None:
        await lead(db)
        assert await another.try_lease("relay", "two", 60) is None
