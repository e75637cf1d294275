"""Commands about dead letters: carried out once, and only when everything in them is right. The real path is elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from millpond.events.deadletters import ReAdmitted, Skipped, Stopped
from millpond.events.event import Event
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import Domain
from millpond.stream.command_desk import CommandDesk, Handled
from millpond.stream.database import DeadLetter
from millpond.stream.decision import Received
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.plan import Arrival, arrive, dead_letter, parsed_headers
from millpond.stream.record import Place, Record
from stream import operators
from stream.memory_service import verify
from stream.operators import STRANGERS_KEY, signed
from stream.poisons import drop
from stream.tally import Drop, dead_letters_topic, drops_topic

DROPS = drops_topic("tally")
LETTERS = dead_letters_topic("tally")
DESK = CommandDesk("tally", (DROPS,), LETTERS, verify)


def record_of(item: str = "one", offset: int = 7) -> Record:
    raw = drop(item)
    return Record(DROPS.name, 2, offset, raw.key, raw.value, raw.headers, raw.timestamp_ms)


STOPPED = dead_letter(record_of(), "poison", "stopped")


def announced(letter: DeadLetter = STOPPED) -> Stopped:
    event = DESK.announce(letter, "can't be read").event
    assert isinstance(event, Stopped)
    return event


def commanded(command: OperatorCommanded, offset: int = 0) -> Arrival:
    value = command.to_bytes()
    place = Place(OPERATOR_COMMANDS.name, 1)
    record = Record(*place, offset, b"tally", value, (("ce_type", b"OperatorCommanded"),), 5)
    return Arrival(Received(place.topic, place, offset, "tally", command, 5, value), None, record)


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase(lambda: 0.0)


async def hold(database: MemoryDatabase, letter: DeadLetter = STOPPED) -> None:
    async with database.transaction() as transaction:
        await transaction.put_dead_letters([letter])


async def handle(database: MemoryDatabase, arrival: Arrival) -> Handled:
    async with database.transaction() as transaction:
        return await DESK.handle(transaction, arrival)


async def state(database: MemoryDatabase) -> str:
    return (await database.dead_letters_from(STOPPED.place, 0))[STOPPED.offset].state


def events(handled: Handled) -> list[type[Event]]:
    return [type(announcement.event) for announcement in handled.announcements]


async def test_a_skip_is_carried_out_once(database: MemoryDatabase) -> None:
    await hold(database)
    command = commanded(signed(operators.skip(announced(), 1)))
    assert events(await handle(database, command)) == [Skipped]
    assert await state(database) == "skipped"
    again = await handle(database, command)
    assert "nonce" in again.refusal.lower()
    assert again.announcements == ()
    assert [letter.reason for letter in again.letters] == ["refused_command"]


async def test_a_readmission_follows_a_skip_and_is_carried_out_once(database: MemoryDatabase) -> None:
    await hold(database)
    await handle(database, commanded(signed(operators.skip(announced(), 1))))
    assert events(await handle(database, commanded(signed(operators.readmit(announced(), 2))))) == [ReAdmitted]
    refused = await handle(database, commanded(signed(operators.readmit(announced(), 3))))
    assert "readmitted" in refused.refusal
    assert await state(database) == "readmitted"


Change = Callable[[], OperatorCommanded]
REFUSED: dict[str, Change] = {
    "another record's hash": lambda: signed(operators.skip(announced(), 1, content_hash="0x" + "00" * 32)),
    "another offset": lambda: signed(operators.skip(announced(), 1, offset=8)),
    "another partition": lambda: signed(operators.skip(announced(), 1, partition=1)),
    "an offset that can't exist": lambda: signed(operators.skip(announced(), 1, offset=2**200)),
    "a stranger": lambda: signed(operators.skip(announced(), 1), key=STRANGERS_KEY),
    "another pool": lambda: signed(operators.skip(announced(), 1), domain=Domain(pool="sea", chain_id=1)),
    "changed after signing": lambda: signed(operators.skip(announced(), 1)).model_copy(
        update={"message": {**signed(operators.skip(announced(), 1)).message, "nonce": 2}}
    ),
    "to readmit what is stopped": lambda: signed(operators.readmit(announced(), 1)),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_exactly_right_is_refused_and_changes_nothing(database: MemoryDatabase, case: str) -> None:
    await hold(database)
    handled = await handle(database, commanded(REFUSED[case]()))
    assert handled.announcements == ()
    assert handled.refusal
    assert [letter.reason for letter in handled.letters] == ["refused_command"]
    assert await state(database) == "stopped"
    # Nothing was spent: the right command with the same nonce is still carried out.
    assert events(await handle(database, commanded(signed(operators.skip(announced(), 1)), 1))) == [Skipped]


@pytest.mark.parametrize("at", ["aside", "resumed", "skipped", "readmitted"])
async def test_only_what_is_stopped_can_be_skipped(database: MemoryDatabase, at: str) -> None:
    await hold(database, replace(STOPPED, state=at))  # type: ignore[arg-type]
    handled = await handle(database, commanded(signed(operators.skip(announced(), 1))))
    assert at in handled.refusal
    assert await state(database) == at


async def test_another_services_commands_are_not_ours(database: MemoryDatabase) -> None:
    await hold(database)
    handled = await handle(database, commanded(signed(operators.skip(announced(), 1, service="metering"))))
    assert handled == Handled()
    assert await state(database) == "stopped"


async def test_a_readmitted_record_is_decided_at_its_new_place_and_once(database: MemoryDatabase) -> None:
    await hold(database, replace(STOPPED, state="aside"))
    done = await handle(database, commanded(signed(operators.readmit(announced(), 1))))
    (announcement,) = done.announcements
    place = Place(LETTERS.name, 2)
    value = announcement.event.to_bytes()
    headers = (("ce_type", b"ReAdmitted"),)
    record = Record(*place, 11, announcement.key, value, headers, announcement.time_ms)
    arrival = arrive(LETTERS, record, parsed_headers(record))
    assert isinstance(arrival, Arrival)
    handled = await handle(database, arrival)
    assert handled.input is not None
    # What is observed for the rules beforehand is the original, where the rules will get to see it.
    assert DESK.for_rules(arrival.received) == handled.input
    assert (handled.input.place, handled.input.offset) == (place, 11)
    assert handled.input.event == Drop(bucket="b", amount=1)
    assert (handled.input.topic, handled.input.stamp_ms) == (DROPS.name, STOPPED.timestamp_ms)
    # Its source may have sent it twice, and both may have been readmitted.
    assert (await handle(database, arrival)).input is None


def test_nothing_is_observed_about_a_record_that_is_only_the_librarys_business() -> None:
    command = commanded(signed(operators.skip(announced(), 1))).received
    assert DESK.for_rules(command) is None
    assert CommandDesk("tally", (DROPS, OPERATOR_COMMANDS), LETTERS, verify).for_rules(command) == command
