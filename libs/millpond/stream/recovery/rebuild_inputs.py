"""Where a rebuilt service goes on reading: its positions, and the items and nonces that it has already taken (STREAM 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from millpond.errors import MillpondError
from millpond.events.deadletters import ReAdmitted
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.topic import Topic
from millpond.events.topics import OPERATOR_COMMANDS
from millpond.identity import ReadmitRecord, SkipRecord
from millpond.stream.command_desk import original_record
from millpond.stream.database import Item
from millpond.stream.decision import Received
from millpond.stream.log import Log
from millpond.stream.plan import Arrival, Plan, arrive, parsed_headers, plan_batch
from millpond.stream.position import Extent, Position
from millpond.stream.postgres.database import PostgresDatabase
from millpond.stream.record import Place, Record
from millpond.stream.service import Service

READ_RECORDS_MAX = 1_000

# Takes up what covered inputs mean for the state: those of one batch of one place.
TakeUp = Callable[[Sequence[Received]], Awaitable[None]]

_ABOUT_LETTERS = (SkipRecord.__name__, ReadmitRecord.__name__)


class InputStops(MillpondError):
    """{place} has been read up to {covered}, as {service}'s outputs say, but this version stops at offset {offset}:
    {detail} Rebuild with the version that could read it, or a newer one."""


@dataclass(frozen=True)
class InputsRead:
    """The positions to be stored, and how many items were remembered on the way."""

    positions: Mapping[Place, Position]
    items: int


async def read_inputs(
    service: Service[Any],
    database: PostgresDatabase,
    log: Log,
    covered: Mapping[Place, int],
    commands: Collection[tuple[str, int]],
    told: Callable[[int], None],
    take_up: TakeUp,
) -> InputsRead:
    """Reads again, without deciding, what the published outputs cover; ``commands``: (signer, nonce) of those carried out.

    ``take_up`` sees each of them that the rules had seen, but for readmissions (they were decided, and have outputs).

    A service that reads its inputs from the beginning keeps no position; but a command about a dead letter that it has
    seen was carried out or refused on the log, so it is remembered as an item and dropped when it comes again.
    """
    topics = {topic.name: topic for topic in (*service.reads, OPERATOR_COMMANDS, service.dead_letters)}
    # What the library alone decides about goes on where it was; only a service's own waiting inputs are read anew.
    anew = (
        set() if service.rebuild_reads_from == "covered" else {t.name for t in (*service.reads, service.dead_letters)}
    )
    extents = await log.extents(list(covered))
    positions: dict[Place, Position] = {}
    items = read = 0
    # Readmissions last: which of two records with one identity came first is known by then.
    for place, stop in sorted(covered.items(), key=lambda each: (each[0].topic == service.dead_letters.name, each)):
        topic = topics.get(place.topic)
        if topic is None or (place.topic in anew and topic is not OPERATOR_COMMANDS):
            continue  # no longer read, or read from the beginning
        walk = _Walk(service.name, topic, place, extents[place], stop)
        async for plan in walk.plans(database, log):
            arrivals = plan.arrivals
            if place.topic in anew:
                arrivals = tuple(each for each in arrivals if _is_about_a_letter(service.name, each))
            items += await _remember(service.name, database, topics, arrivals, commands)
            if topic in service.reads:
                await take_up([arrival.received for arrival in arrivals])
            read += len(plan.records)
            told(read)
        if place.topic not in anew:
            positions[place] = walk.position
    return InputsRead(positions, items)


class _Walk:
    """Along the covered part of one input. ``position`` is where it has got to."""

    def __init__(self, service: str, topic: Topic, place: Place, extent: Extent, stop: int) -> None:
        self._service = service
        self._topic = topic
        self._place = place
        self._extent = extent
        self._stop = stop
        self.position = Position(min(extent.beginning, stop))

    async def plans(self, database: PostgresDatabase, log: Log) -> AsyncIterator[Plan]:
        """As the lost process saw them, by the letters that it has published. Raises ``InputStops``."""
        letters = await database.dead_letters_from(self._place, 0)
        # A command that was refused can be read: as an item it was seen, and a repeat of it is dropped.
        known = {offset: letter for offset, letter in letters.items() if letter.reason != "refused_command"}
        batch: list[Record] = []
        async for record in log.read(self._place, self.position.next_offset, self._stop):
            batch.append(record)
            if len(batch) == READ_RECORDS_MAX:
                yield self._plan(batch, known)
                batch = []
        if batch:
            yield self._plan(batch, known)
        # What follows the last record holds no data (or has expired, which the reader will say).
        self.position = replace(self.position, next_offset=self._stop)

    def _plan(self, batch: Sequence[Record], known: Mapping[int, Any]) -> Plan:
        plan = plan_batch(self._topic, batch, self.position, known)
        if plan.stop is not None:
            raise InputStops(
                place=self._place,
                covered=self._stop,
                service=self._service,
                offset=plan.after.next_offset,
                detail=plan.stop.detail,
            )
        self.position = plan.after
        return plan


def _is_about_a_letter(service: str, arrival: Arrival) -> bool:
    event = arrival.received.event
    return (
        isinstance(event, OperatorCommanded)
        and event.action in _ABOUT_LETTERS
        and event.message.get("service") == service
    )


def _items(topics: Mapping[str, Topic], arrival: Arrival) -> Iterator[Item]:
    """The record's own identity, and that of a record that it readmits."""
    if arrival.item is not None:
        yield arrival.item
    event = arrival.received.event
    if isinstance(event, ReAdmitted) and event.topic in topics:
        original = original_record(event)
        arrived = arrive(topics[event.topic], original, parsed_headers(original))
        if isinstance(arrived, Arrival) and arrived.item is not None:
            yield arrived.item


async def _remember(
    service: str,
    database: PostgresDatabase,
    topics: Mapping[str, Topic],
    arrivals: Sequence[Arrival],
    commands: Collection[tuple[str, int]],
) -> int:
    items = [item for each in arrivals for item in _items(topics, each)]
    carried_out = [
        (event.signer, each.received.topic, each.received.key, nonce)
        for each in arrivals
        if _is_about_a_letter(service, each)
        and isinstance(event := each.received.event, OperatorCommanded)
        and isinstance(nonce := event.message.get("nonce"), int)
        and (event.signer, nonce) in commands
    ]
    if not items and not carried_out:
        return 0
    async with database.transaction() as transaction:
        verdicts = await transaction.admit(items)
        for signer, topic, key, nonce in carried_out:
            known = await transaction.last_nonce(signer, topic, key)
            await transaction.put_nonce(signer, topic, key, max(nonce, known or 0))
    return verdicts.count("first")
