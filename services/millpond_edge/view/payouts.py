"""What each contributor is told about his money: statements, orders, and what became of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from millpond.events.rewards_payouts import PayoutOrdered, PayoutWithdrawn
from millpond.events.rewards_statements import StatementIssued
from millpond.events.treasury_settlements import PayoutHeld, PayoutSettled
from millpond.stream.cursor import Cursor
from millpond.stream.decision import Received
from millpond.stream.record import Place


@dataclass(frozen=True, slots=True)
class PayoutChange:
    """One record about a contributor's money, and the epoch that it belongs to. ``value``: the event as it is on the topic."""

    place: Place
    offset: int
    type_name: str
    epoch: int
    value: bytes


@dataclass(frozen=True, slots=True)
class _Order:
    contributor: str
    epoch: int


class Payouts:
    """From ``rewards.statements.v1``, ``rewards.payouts.v1`` and ``treasury.settlements.v1``, read in any order.

    What treasury says names a payout only. Read before the order, it can't be anybody's yet: it waits, and behind it all that
    stands later in its partition, since a cursor has one offset for a partition and would pass over what came out late.
    """

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}
        # The topic has one partition, and always will.
        self._unattributed: deque[Received] = deque()
        self._changes: dict[str, list[PayoutChange]] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case StatementIssued(contributor=contributor, epoch=epoch):
                self._tell(contributor, epoch, received)
            case PayoutOrdered(payout=payout, contributor=contributor, epoch=epoch):
                self._orders.setdefault(payout, _Order(contributor, epoch))
                self._tell(contributor, epoch, received)
                self._attribute()
            case PayoutWithdrawn(payout=payout) if (order := self._orders.get(payout)) is not None:
                # Of the same partition as the order, and later.
                self._tell(order.contributor, order.epoch, received)
            case PayoutHeld() | PayoutSettled():
                self._unattributed.append(received)
                self._attribute()

    def changes(self, contributor: str) -> Sequence[PayoutChange]:
        """This contributor's so far, those of one place in their order; more come at its end."""
        return self._changes.setdefault(contributor, [])

    def told(self, read: Cursor) -> Cursor:
        """How far all contributors have been told, if the topics were read up to ``read``."""
        if not self._unattributed:
            return read
        first = self._unattributed[0]
        return Cursor({**read.offsets, first.place: first.offset})

    def _attribute(self) -> None:
        while self._unattributed:
            event = self._unattributed[0].event
            assert isinstance(event, PayoutHeld | PayoutSettled)
            order = self._orders.get(event.payout)
            if order is None:
                return
            self._tell(order.contributor, order.epoch, self._unattributed.popleft())

    def _tell(self, contributor: str, epoch: int, received: Received) -> None:
        change = PayoutChange(received.place, received.offset, received.event.type_name, epoch, received.value)
        self._changes.setdefault(contributor, []).append(change)
