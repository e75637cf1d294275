"""What an audit that agrees shows: per contributor what he is owed, was ordered, was paid; and that money adds up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from millpond_cli.audit.run import Audited


@dataclass
class Row:
    """One contributor's money in one asset, over the audited epochs. ``units``: believed and held, without carried ones."""

    contributor: str
    asset: str
    units: int = 0
    owed: int = 0
    ordered: int = 0
    paid: int = 0


@dataclass(frozen=True)
class Total:
    """One asset over the audited epochs: ``revenue + carried_in == contributors + operator + carried_out``."""

    asset: str
    revenue: int
    carried_in: int
    contributors: int
    operator: int
    carried_out: int

    def __str__(self) -> str:
        return (
            f"{self.asset}: revenue {self.revenue} + carried in {self.carried_in} = contributors {self.contributors} "
            f"+ operator {self.operator} + carried {self.carried_out}"
        )


def rows(audited: Audited, contributor: str | None = None) -> list[Row]:
    found: dict[tuple[str, str], Row] = {}

    def row(who: str, asset: str) -> Row:
        return found.setdefault((who, asset), Row(who, asset))

    for epoch in audited.epochs:
        for said in audited.published.statements_of(epoch):
            each = said.event
            mine = row(each.contributor, each.asset)
            mine.owed += each.amount
            mine.units += sum(work.units - work.units_carried for work in each.work)
            mine.units += sum(work.units - work.units_carried for work in each.held)
    for order in audited.published.orders:
        if order.event.epoch in audited.epochs:
            mine = row(order.event.contributor, order.event.asset)
            mine.ordered += order.event.amount
            mine.paid += order.event.amount if order.event.payout in audited.settled.paid else 0
    return [each for _, each in sorted(found.items()) if contributor in (None, each.contributor)]


def totals(audited: Audited) -> list[Total]:
    assets = sorted({pot.asset for closed in audited.closed for pot in closed.pots})
    found = []
    for asset in assets:
        pots = [pot for closed in audited.closed for pot in closed.pots if pot.asset == asset]
        total = Total(
            asset,
            revenue=sum(pot.revenue for pot in pots),
            carried_in=pots[0].carried_in,
            contributors=sum(pot.contributors for pot in pots),
            operator=sum(pot.operator for pot in pots),
            carried_out=pots[-1].carried_out,
        )
        assert total.revenue + total.carried_in == total.contributors + total.operator + total.carried_out, total
        found.append(total)
    return found


def table(of: Iterable[Row]) -> Table:
    shown = Table("contributor", "asset", "pixels", "owed", "ordered", "paid")
    for each in of:
        numbers = (each.units, each.owed, each.ordered, each.paid)
        shown.add_row(each.contributor, each.asset, *(f"{number:,}" for number in numbers))
    return shown


def document(audited: Audited, contributor: str | None, chain: dict[str, Any] | None) -> dict[str, Any]:
    """For programs; amounts are strings."""
    return {
        "audit": "match",
        "epochs": list(audited.epochs),
        "levels": audited.levels,
        "lines": sum(head.size for closed in audited.closed for head in closed.lines),
        "roots": {str(closed.epoch): closed.root for closed in audited.closed},
        "totals": [_texts(vars(total)) for total in totals(audited)],
        "contributors": [_texts(vars(row)) for row in rows(audited, contributor)],
        "chain": chain,
    }


def _texts(fields: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in fields.items()}
