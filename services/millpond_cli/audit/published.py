"""What rewards has said: epochs, statements and orders, as they stand on their topics, each with its record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from millpond.errors import MillpondError
from millpond.events.event import Event
from millpond.events.rewards_epochs import Checkpoint, EpochClosed, EpochClosing, PayoutsReleased
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import REWARDS_EPOCHS, REWARDS_PAYOUTS, REWARDS_STATEMENTS
from millpond.stream.log import Log
from millpond.stream.record import Record
from millpond_cli.audit.difference import Spot, difference, spot_of
from millpond_cli.audit.reading import everything, read

E = TypeVar("E", bound=Event)


class NothingClosed(MillpondError):
    """{what} on {where}, so there is nothing to be audited. `millpond epoch show` tells which epochs are closed."""


@dataclass(frozen=True, slots=True)
class Said(Generic[E]):
    event: E
    record: Record

    @property
    def spot(self) -> Spot:
        return spot_of(self.record)


@dataclass
class Published:
    """By epoch; statements and orders in the order of their partitions."""

    closings: dict[int, Said[EpochClosing]] = field(default_factory=dict)
    closed: dict[int, Said[EpochClosed]] = field(default_factory=dict)
    checkpoints: dict[int, Said[Checkpoint]] = field(default_factory=dict)
    released: dict[int, Said[PayoutsReleased]] = field(default_factory=dict)
    statements: dict[int, list[Said[StatementIssued]]] = field(default_factory=dict)
    orders: list[Said[PayoutOrdered]] = field(default_factory=list)

    def statements_of(self, epoch: int) -> list[Said[StatementIssued]]:
        """In the order of their leaves."""
        return sorted(self.statements.get(epoch, ()), key=lambda said: said.event.index)


async def published_on(log: Log) -> Published:
    """Raises ``Difference`` for what is missing between two records, can't be read, or is said twice of one epoch."""
    found = Published()
    for record in await everything(log, REWARDS_EPOCHS):
        match event := read(REWARDS_EPOCHS, record).event:
            case EpochClosing():
                _once(found.closings, event.epoch, Said(event, record))
            case EpochClosed():
                _once(found.closed, event.epoch, Said(event, record))
            case Checkpoint():
                _once(found.checkpoints, event.epoch, Said(event, record))
            case PayoutsReleased():
                _once(found.released, event.epoch, Said(event, record))
    for record in await everything(log, REWARDS_STATEMENTS):
        statement = read(REWARDS_STATEMENTS, record).event
        assert isinstance(statement, StatementIssued)
        found.statements.setdefault(statement.epoch, []).append(Said(statement, record))
    for record in await everything(log, REWARDS_PAYOUTS):
        if isinstance(order := read(REWARDS_PAYOUTS, record).event, PayoutOrdered):
            found.orders.append(Said(order, record))
    return found


def _once(known: dict[int, Said[E]], epoch: int, said: Said[E]) -> None:
    if epoch in known:
        raise difference(
            f"{said.event.type_name} of epoch {epoch} was said twice.",
            published=said.record.value,
            found=known[epoch].record.value,
            behind=[known[epoch].spot, said.spot],
        )
    known[epoch] = said
