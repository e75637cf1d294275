"""``proportional/1``: everybody gets the part that his work is of all work, at the jobs' prices. Never edited: see README.

A held line weighs its lower figure like any other; its share is set aside until the line is decided. What rounding
leaves is carried. There is no cap, no multiplier, no penalty.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millpond.money.split import floor_share
from millpond_rewards.rules.weights import BELIEVED, WorkKey, weight


@dataclass(frozen=True, slots=True)
class Split:
    """``amounts`` by contributor; ``set_aside`` by held work. ``distributed == Σ amounts + Σ set_aside + remainder``."""

    amounts: Mapping[str, int] = field(default_factory=dict)
    set_aside: Mapping[WorkKey, int] = field(default_factory=dict)
    remainder: int = 0


def split(amount: int, units: Mapping[WorkKey, int], scale: int) -> Split:
    """Shares ``amount`` over ``units`` of work, which weigh more than nothing together."""
    weights = {key: weight(key, each, scale) for key, each in units.items()}
    total = sum(weights.values())
    believed: dict[str, int] = {}
    for key, each in weights.items():
        if key.reason == BELIEVED:
            believed[key.contributor] = believed.get(key.contributor, 0) + each
    amounts = {contributor: floor_share(amount, each, total) for contributor, each in believed.items()}
    set_aside = {key: floor_share(amount, each, total) for key, each in weights.items() if key.reason != BELIEVED}
    remainder = amount - sum(amounts.values()) - sum(set_aside.values())
    assert 0 <= remainder < len(weights), (remainder, len(weights))
    return Split(amounts, set_aside, remainder)
