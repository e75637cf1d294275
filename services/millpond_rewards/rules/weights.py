"""What counts: the units of the lines, by contributor and price; and what that weighs, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from millpond.proofs.merkle import TreeBuilder, leaf_hash

# Of a line that is believed.
BELIEVED: Final = ""


class WorkKey(NamedTuple):
    """Lines that count alike. ``wei`` per ``per_units``: the job's price. ``reason``: why they are held; or BELIEVED."""

    contributor: str
    wei: int
    per_units: int
    reason: str


class Count(NamedTuple):
    lines: int
    units: int


Work = Mapping[WorkKey, Count]


class LineFold:
    """The usage lines of one partition since the last cut: what they come to, and the tree of their bytes.

    Sums, so the order of the lines changes nothing but the tree, whose order is that of the log.
    """

    __slots__ = ("tree", "work")

    def __init__(self, work: Work | None = None, tree: TreeBuilder | None = None) -> None:
        self.work: dict[WorkKey, Count] = dict(work or {})
        self.tree = tree or TreeBuilder()

    def add(self, key: WorkKey, units: int, value: bytes) -> None:
        """``units``: the line's quantity, which for a held one is its lower figure. ``value``: the record's, verbatim."""
        known = self.work.get(key)
        self.work[key] = Count(1, units) if known is None else Count(known.lines + 1, known.units + units)
        self.tree.append(leaf_hash(value))

    def copy(self) -> LineFold:
        return LineFold(self.work, self.tree.copy())


def added(parts: Iterable[Work]) -> dict[WorkKey, Count]:
    """What several works come to."""
    total: dict[WorkKey, Count] = {}
    for part in parts:
        for key, count in part.items():
            known = total.get(key, Count(0, 0))
            total[key] = Count(known.lines + count.lines, known.units + count.units)
    return total


def scale_of(work: Iterable[WorkKey]) -> int:
    """The least number that every price's ``per_units`` divides: with it, weights are whole."""
    return math.lcm(1, *(key.per_units for key in work))


def weight(key: WorkKey, units: int, scale: int) -> int:
    """What units weigh: their value at the job's price, times ``scale``. Nothing is rounded."""
    return units * key.wei * (scale // key.per_units)
