"""What the run came to, from the topics alone: the figures, the table, and the file for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from millpond.errors import MillpondError
from millpond.events.metering_usage import UsageHeld
from millpond_demo.contributors import Machine
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

    def as_json(self) -> str:
        return json.dumps(
            {
                "jobs": {"requested": self.requested, "succeeded": self.succeeded, "reassigned": self.reassigned},
                "pixels": self.pixels,
                "usage_lines": self.usage_lines,
                "contributors": {address: vars(share) for address, share in self.contributors.items()},
            },
            indent=2,
        )


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


def table(summary: Summary) -> Table:
    """A row per contributor."""
    shown = Table("contributor", "devices", "jobs", "pixels", title="What was done, and counted", title_justify="left")
    for column in shown.columns[1:]:
        column.justify = "right"
    for address, share in summary.contributors.items():
        shown.add_row(address, str(share.devices), str(share.jobs), f"{share.pixels:,}")
    shown.add_section()
    shown.add_row("together", "", str(summary.usage_lines), f"{summary.pixels:,}")
    return shown


def write(summary: Summary, path: Path) -> None:
    path.write_text(summary.as_json() + "\n")
