"""Incident 18, `openpool-wei-in-int64-and-float`: int64 ends at 9.22 ether, and a float loses single wei above 2^53.

openpool-manager (int64 wei, float64 split), open-etc-pool 8b65509, miningcore. Here: chain's log, JSON, Kafka's bytes,
the database's text, statement, order, and back, bit for bit.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable

import pytest
from pydantic import TypeAdapter, ValidationError

from millpond.events.chain_revenue import TicketRedeemed
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.money import split
from millpond_rewards.rules.state import Payout
from rewards.story import ANN, BEN, Story, commission, line, terms, ticket

AMOUNTS = (2**53 + 1, 2**63, 2**63 + 1, 2**200)

Hop = Callable[[int], int]


def through_the_pool(amount: int) -> int:
    """A ticket of this amount, all of it one contributor's: what is ordered for him, each step read from its bytes."""
    event = TicketRedeemed.model_validate_json(ticket(amount, number=1).to_bytes())
    story = Story().tell(terms(split=commission(0)), line(ANN, 1, number=1), event)
    closed = EpochClosed.model_validate_json(story.close().to_bytes())
    statement = StatementIssued.model_validate_json(story.last(StatementIssued).to_bytes())
    order = PayoutOrdered.model_validate_json(story.wait(60).last(PayoutOrdered).to_bytes())
    (payout,) = story.state.payouts.values()
    stored = TypeAdapter(Payout).validate_json(TypeAdapter(Payout).dump_json(payout))
    figures = {event.amount, closed.pots[0].contributors, statement.amount, statement.cumulative, order.amount}
    assert figures == {stored.amount}
    return order.amount


def through_int64(amount: int) -> int:
    return ctypes.c_int64(amount).value


def through_a_float(amount: int) -> int:
    return int(float(amount))


def check(hop: Hop) -> None:
    assert [hop(amount) for amount in AMOUNTS] == list(AMOUNTS)


def test_openpool_wei_in_int64_and_float() -> None:
    check(through_the_pool)


@pytest.mark.parametrize("hop", [through_int64, through_a_float])
def test_the_doubles_lose_money(hop: Hop) -> None:
    with pytest.raises(AssertionError):
        check(hop)


@pytest.mark.parametrize("spelling", ["1.0", "1e18", "-1", "01", " 1", "0x1", 1, 1.0])
def test_an_amount_is_a_decimal_string_of_one_spelling(spelling: object) -> None:
    document = json.loads(ticket(1, number=1).to_bytes()) | {"amount": spelling}
    with pytest.raises(ValidationError):
        TicketRedeemed.model_validate_json(json.dumps(document))


def test_two_equals_share_what_no_float_can_hold() -> None:
    story = Story().tell(terms(split=commission(0)), line(ANN, 1, number=1), line(BEN, 1, number=2))
    pot = story.tell(ticket(9_007_199_254_740_993, number=1)).close().pots[0]
    assert story.amounts() == {ANN: 4_503_599_627_370_496, BEN: 4_503_599_627_370_496}
    assert pot.carried_out == 1
    assert split(9_007_199_254_740_993, [1, 1]) == ([4_503_599_627_370_496] * 2, 1)
