"""Incident 19, `oep-round-to-nearest`: each share is rounded to nearest on its own, so credits can exceed the reward.

open-ethereum-pool `payouts/unlocker.go`, and still so in open-etc-pool 5cdbe2c. Here each share is floored, and what is
left opens the next epoch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from fractions import Fraction

import pytest

from millpond_rewards.rules.proportional_1 import split
from millpond_rewards.rules.weights import BELIEVED, WorkKey
from rewards.story import Story, commission, contributor, line, terms, ticket

SEED = 19
DRAWS = 500
CASES = [(1, [1, 1]), (5, [1, 1, 1]), (10**18, [1, 1, 1])]

# The shares, and what is carried.
Splits = Callable[[int, Sequence[int]], tuple[list[int], int]]


def to_nearest(pot: int, weights: Sequence[int]) -> tuple[list[int], int]:
    """What the source did; half a unit goes up."""
    shares = [int(Fraction(pot * weight, sum(weights)) + Fraction(1, 2)) for weight in weights]
    return shares, pot - sum(shares)


def proportional_1(pot: int, weights: Sequence[int]) -> tuple[list[int], int]:
    keys = [WorkKey(str(number), 1, 1, BELIEVED) for number in range(len(weights))]
    shared = split(pot, dict(zip(keys, weights, strict=True)), 1)
    return [shared.amounts[key.contributor] for key in keys], shared.remainder


def draws() -> list[tuple[int, list[int]]]:
    chance = random.Random(SEED)
    return [
        (
            chance.randrange(10 ** chance.randrange(1, 30)),
            [chance.randrange(1, 10**9) for _ in range(chance.randrange(1, 120))],
        )
        for _ in range(DRAWS)
    ]


def check(splits: Splits) -> None:
    chance = random.Random(SEED)
    for pot, weights in [*CASES, *draws()]:
        shares, carried = splits(pot, weights)
        assert sum(shares) <= pot, (pot, weights)
        assert sum(shares) + carried == pot
        assert 0 <= carried < len(weights)
        order = chance.sample(range(len(weights)), len(weights))
        again, _ = splits(pot, [weights[n] for n in order])
        assert again == [shares[n] for n in order]


def test_oep_round_to_nearest() -> None:
    check(proportional_1)


def test_the_double_gives_more_than_there_is() -> None:
    assert [sum(to_nearest(pot, weights)[0]) for pot, weights in CASES[:2]] == [2, 6]
    with pytest.raises(AssertionError):
        check(to_nearest)


def test_the_carry_opens_the_next_epoch() -> None:
    story = Story().tell(terms(split=commission(0)))
    for number in range(3):
        story.tell(line(contributor(number), 1, number=number))
    assert story.tell(ticket(5, number=1)).close().pots[0].carried_out == 2
    for number in range(3):
        story.tell(line(contributor(number), 1, number=10 + number))
    pot = story.tell(ticket(1, number=2)).close().pots[0]
    assert (pot.carried_in, pot.contributors, pot.carried_out) == (2, 3, 0)
