"""What the rules refuse is set aside with the reason, beside what is carried out; nothing of it is lost or said twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from millpond.events.deadletters import DeadLettered, ReAdmitted
from millpond.events.envelope import CE_TYPE
from millpond.stream.command_desk import CommandDesk
from millpond.stream.database import OutboxRow
from millpond.stream.decision import Decision, Input, Received
from millpond.stream.memory.database import MemoryDatabase
from millpond.stream.plan import Plan, plan_batch
from millpond.stream.position import Position
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Record, content_hash
from millpond.stream.transact import Batch, Transactor
from stream.memory_service import DictStore, verify
from stream.tally import Drop, dead_letters_topic, drops_topic, tally

NAME = "tally"
DROPS, LETTERS = drops_topic(NAME), dead_letters_topic(NAME)
State = Mapping[str, Any]


def refuse_odd(state: State, received: Input) -> Decision[State]:
    assert isinstance(received, Received)
    assert isinstance(received.event, Drop)
    if received.event.amount % 2:
        return Decision(state, refusal=f"{received.event.amount} is odd.")
    return Decision({**state, "total": state.get("total", 0) + received.event.amount})


def fallen(*amounts: int) -> Plan:
    records = [
        Record(
            DROPS.name,
            0,
            offset,
            b"b",
            Drop(bucket="b", amount=amount).to_bytes(),
            ((CE_TYPE, b"Drop"), (ITEM, f"drop-{offset}".encode())),
            1,
        )
        for offset, amount in enumerate(amounts)
    ]
    return plan_batch(DROPS, records, Position())


class World:
    """One service in memory, given plan after plan."""

    def __init__(self) -> None:
        service = tally(NAME, "single_active", decide=refuse_odd, store=DictStore())
        self.database = MemoryDatabase(lambda: 0.0)
        self._transactor = Transactor(service, self.database, CommandDesk(NAME, service.reads, LETTERS, verify))
        self.state: State = {}

    async def apply(self, plan: Plan) -> list[DeadLettered]:
        """What it told on its dead-letter topic."""
        await self.database.positions([plan.place])
        end = await self.database.outbox_end()
        applied = await self._transactor.apply(Batch([plan], now_ms=1), self.state)
        assert applied.state is not None
        self.state = applied.state
        told = [numbered.row for numbered in await self.database.outbox_after(end, 100)]
        return [_letter(row) for row in told]


def _letter(row: OutboxRow) -> DeadLettered:
    assert (row.topic, row.event_type) == (LETTERS.name, "DeadLettered")
    return DeadLettered.model_validate_json(row.value)


async def test_what_is_refused_is_told_with_its_sentence_and_the_rest_is_carried_out() -> None:
    world = World()
    told = await world.apply(fallen(2, 3, 4, 5))
    assert world.state == {"total": 6}
    assert [(each.offset, each.reason, each.sentence) for each in told] == [
        (1, "refused_command", "3 is odd."),
        (3, "refused_command", "5 is odd."),
    ]
    letter = await _stored(world, 1)
    assert (letter.state, letter.content_hash) == ("aside", content_hash(letter.key, letter.value))


async def test_a_readmitted_one_that_is_refused_again_is_told_again_where_it_first_stood() -> None:
    world = World()
    (refused,) = await world.apply(fallen(3))
    letter = await _stored(world, 0)
    async with world.database.transaction() as transaction:
        # As by the operator's command; his readmission is decided as if the item had never come.
        await transaction.put_dead_letters([replace(letter, state="readmitted")])
        transaction._tables.items.clear()
    value = ReAdmitted(**refused.model_dump(), signer="0x" + "ab" * 20, nonce=1).to_bytes()
    headers = ((CE_TYPE, b"ReAdmitted"), (OUTBOX, OutboxNumber(NAME, 1, 0).to_header()))
    again = plan_batch(LETTERS, [Record(LETTERS.name, 0, 0, b"b", value, headers, 2)], Position())
    (told,) = await world.apply(again)
    assert (told.topic, told.offset, told.sentence) == (DROPS.name, 0, "3 is odd.")
    assert (await _stored(world, 0)).state == "aside"


async def _stored(world: World, offset: int) -> Any:
    async with world.database.transaction() as transaction:
        return await transaction.find_dead_letter(fallen(2).place, offset)
