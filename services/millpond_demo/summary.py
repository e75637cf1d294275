"""What the run came to, from the topics alone: the figures, the table, and the file for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.table import Table

from millpond.errors import MillpondError
from millpond.events.metering_usage import UsageHeld
from millpond.events.treasury_settlements import PayoutSettled
from millpond_demo.contributors import Machine
from millpond_demo.ledger import Ledger, Money
from millpond_demo.watch import Seen


class NotExactlyOnce(MillpondError):
    """The topics don't say of every job that it was done and counted once: {problem}."""


@dataclass(frozen=True)
class Share:
    """What one contributor's machines did."""

    devices: int
    jobs: int
    pixels: int


@dataclass(frozen=True)
class Summary:
    requested: int
    succeeded: int
    reassigned: int
    pixels: int
    usage_lines: int
    contributors: dict[str, Share]


def sum_up(seen: Seen, machines: Sequence[Machine]) -> Summary:
    """Raises ``NotExactlyOnce`` unless each job has one kept attempt and one usage line, which is believed."""
    _check(seen)
    addresses = sorted({machine.owner.address for machine in machines})
    lines = {address: [line for line in seen.lines if line.contributor == address] for address in addresses}
    return Summary(
        requested=len(seen.requested),
        succeeded=len(seen.finished),
        reassigned=len(seen.reassigned),
        pixels=sum(line.quantity for line in seen.lines),
        usage_lines=len(seen.lines),
        contributors={
            address: Share(
                devices=len({machine.name for machine in machines if machine.owner.address == address}),
                jobs=len(lines[address]),
                pixels=sum(line.quantity for line in lines[address]),
            )
            for address in addresses
        },
    )


def _check(seen: Seen) -> None:
    kept = Counter(job for (job, _), closed in seen.closed.items() if closed.outcome == "kept")
    counted = Counter(line.job for line in seen.lines)
    for job in seen.requested:
        if job not in seen.finished:
            raise NotExactlyOnce(problem=f"job {job} was not finished")
        if kept[job] != 1:
            raise NotExactlyOnce(problem=f"job {job} has {kept[job]} kept attempts")
        if counted[job] != 1:
            raise NotExactlyOnce(problem=f"job {job} has {counted[job]} usage lines")
    for line in seen.lines:
        if isinstance(line, UsageHeld):
            raise NotExactlyOnce(problem=f"the line of job {line.job} is held: {line.sentence}")
    if strange := set(counted) - seen.requested:
        raise NotExactlyOnce(problem=f"usage lines name jobs that nobody asked for: {', '.join(sorted(strange))}")


def as_json(summary: Summary, money: Money, ledger: Ledger) -> str:
    """Amounts are decimal strings: a JSON number may pass through somebody's float."""
    return json.dumps(
        {
            "jobs": {
                "requested": summary.requested,
                "succeeded": summary.succeeded,
                "reassigned": summary.reassigned,
            },
            "pixels": summary.pixels,
            "usage_lines": summary.usage_lines,
            "revenue_wei": str(money.revenue_wei),
            "operator_wei": str(money.operator_wei),
            "carried_wei": str(money.carried_wei),
            "gas_wei": str(money.gas_wei),
            "epoch_root": money.epoch_root,
            # Whoever reads this knows that it did: the demo ends without it otherwise.
            "audit": "match",
            "contributors": {
                address: {**asdict(share), **_payment(ledger.payout_of(address))}
                for address, share in summary.contributors.items()
            },
        },
        indent=2,
    )


def table(summary: Summary, money: Money, ledger: Ledger) -> Table:
    """A row per contributor; every digit of every amount."""
    shown = Table(
        *("contributor", "devices", "jobs", "pixels", "share", "wei", "paid in"),
        title="What was done, and what it earned",
        title_justify="left",
    )
    for column in shown.columns[1:6]:
        column.justify = "right"
    for address, share in summary.contributors.items():
        payout = ledger.payout_of(address)
        wei = payout.amount if payout else 0
        shown.add_row(
            f"{address[:8]}…{address[-6:]}",
            str(share.devices),
            str(share.jobs),
            f"{share.pixels:,}",
            _percent(wei, money.revenue_wei),
            f"{wei:,}",
            (payout.transaction or "")[:14] + "…" if payout else "nothing to pay",
        )
    shown.add_section()
    for name, wei in (("the operator", money.operator_wei), ("carried on", money.carried_wei)):
        shown.add_row(name, "", "", "", _percent(wei, money.revenue_wei), f"{wei:,}", "")
    shown.add_section()
    shown.add_row(
        "together", "", str(summary.usage_lines), f"{summary.pixels:,}", "100.0 %", f"{money.revenue_wei:,}", ""
    )
    return shown


def _payment(payout: PayoutSettled | None) -> dict[str, str | None]:
    if payout is None:
        return {"wei": "0", "payout_tx": None, "status": "nothing-to-pay"}
    return {"wei": str(payout.amount), "payout_tx": payout.transaction, "status": payout.outcome}


def _percent(part: int, whole: int) -> str:
    """To be looked at; in tenths, by integers."""
    tenths = part * 1_000 // whole if whole else 0
    return f"{tenths // 10}.{tenths % 10} %"
