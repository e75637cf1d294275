"""An asset's money in one epoch: what comes in, and what there is to be shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from millpond.money.split import commission


@dataclass(frozen=True, slots=True)
class Carried:
    """What nobody has yet, in the asset's smallest unit: see ``Pot``. ``contributors_total``: of all epochs before."""

    remainder: int = 0
    unearned: int = 0
    set_aside: int = 0
    contributors_total: int = 0

    @property
    def total(self) -> int:
        return self.remainder + self.unearned + self.set_aside


@dataclass(frozen=True, slots=True)
class Sharing:
    """What becomes of a pot. ``shared``: it is split by weight now. ``carried``: it waits for work, or for income."""

    operator: int
    amount: int
    outcome: Literal["shared", "no-work", "no-income"]


def sharing(*, revenue: int, carried: Carried, operator_share_ppm: int, weight_total: int) -> Sharing:
    """The operator's commission is on revenue, once: what was carried has paid it already.

    Without income (the remainder of an earlier split is none) nothing is shared: the work counts in the next epoch.
    Without work the money waits, all of it that is not the operator's.
    """
    operator = commission(revenue, operator_share_ppm)
    amount = revenue - operator + carried.unearned + carried.remainder
    if revenue + carried.unearned == 0:
        return Sharing(operator, amount, "no-income")
    return Sharing(operator, amount, "shared" if weight_total else "no-work")
