"""Incident 17, `openpool-commission-inverted`: the worker was credited fees times the commission's rate.

A "25 % commission" paid the worker 25 % (openpool-manager `dataloader/plugin.go`). Ours is floored, and his is the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from millpond.events.rewards_epochs import EpochClosed
from rewards.story import ANN, Story, commission, line, terms, ticket

INCOME = 1_000_003
# Basis points of commission: what the pool and the contributor get of INCOME.
EXPECTED = {0: (0, 1_000_003), 2_500: (250_000, 750_003), 9_999: (999_902, 101), 10_000: (1_000_003, 0)}

Pays = Callable[[int], tuple[int, int]]


def openpool(basis_points: int) -> tuple[int, int]:
    """What the source did: the contributor's part is the fees times the rate."""
    contributor = INCOME * basis_points // 10_000
    return INCOME - contributor, contributor


def millpond(basis_points: int) -> tuple[int, int]:
    story = Story().tell(terms(split=commission(basis_points * 100)), line(ANN, 1, number=1), ticket(INCOME, number=1))
    story.close()
    return story.last(EpochClosed).pots[0].operator, story.amounts()[ANN]


def check(pays: Pays) -> None:
    outcomes = {basis_points: pays(basis_points) for basis_points in EXPECTED}
    assert outcomes == EXPECTED
    assert all(sum(both) == INCOME for both in outcomes.values())
    contributors = [contributor for _, contributor in outcomes.values()]
    assert contributors == sorted(contributors, reverse=True), "pay must not rise with the commission"


def test_openpool_commission_inverted() -> None:
    check(millpond)


def test_the_double_pays_the_rate_and_not_the_rest() -> None:
    with pytest.raises(AssertionError):
        check(openpool)
