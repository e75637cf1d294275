"""Incident 47, `livepeer657-face-value-not-received`, at rewards: a ticket is worth what it moved, whatever is written on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from millpond.events.chain_revenue import TicketRedeemed
from rewards.story import ANN, Story, commission, line, terms, ticket

FACE_VALUE = 10**18
MOVED = (10**18, 1, 0)

Income = Callable[[Sequence[TicketRedeemed]], int]


def tickets() -> list[TicketRedeemed]:
    return [
        ticket(amount, number=number).model_copy(update={"face_value": FACE_VALUE})
        for number, amount in enumerate(MOVED)
    ]


def by_face_value(redeemed: Sequence[TicketRedeemed]) -> int:
    return sum(each.face_value for each in redeemed)


def millpond(redeemed: Sequence[TicketRedeemed]) -> int:
    story = Story().tell(terms(split=commission(0)), line(ANN, 1, number=1), *redeemed)
    pot = story.close().pots[0]
    assert story.amounts() == {ANN: pot.revenue}
    return pot.revenue


def check(income: Income) -> None:
    assert income(tickets()) == sum(MOVED)


def test_livepeer657_face_value_not_received() -> None:
    check(millpond)


def test_the_double_pays_out_what_never_came() -> None:
    with pytest.raises(AssertionError):
        check(by_face_value)
