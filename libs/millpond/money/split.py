"""Exact division of money: floored, and what is left is said. No other place divides an amount."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

PARTS_PER_MILLION: Final = 1_000_000


def floor_share(amount: int, weight: int, total_weight: int) -> int:
    """``amount * weight / total_weight``, rounded down: a share never exceeds what it is a share of.

    ``amount`` in the smallest unit, >= 0; ``0 <= weight <= total_weight``, ``total_weight`` > 0.
    """
    assert amount >= 0, amount
    assert 0 <= weight <= total_weight, (weight, total_weight)
    assert total_weight > 0
    return amount * weight // total_weight


def split(amount: int, weights: Sequence[int]) -> tuple[list[int], int]:
    """Shares ``amount`` (smallest units, >= 0) in proportion to ``weights`` (>= 0, not all 0), and what is carried.

    Each share is floored. The rest, fewer units than there are weights above 0, is given to nobody: the next epoch
    gets it. A share depends on its own weight and the sum, never on the order.
    """
    total = sum(weights)
    shares = [floor_share(amount, weight, total) for weight in weights]
    carried = amount - sum(shares)
    assert 0 <= carried < len(weights)
    return shares, carried


def commission(amount: int, share_ppm: int) -> int:
    """What of ``amount`` goes to whoever has ``share_ppm`` parts per million, rounded down: his rounding loss, not theirs."""
    return floor_share(amount, share_ppm, PARTS_PER_MILLION)
