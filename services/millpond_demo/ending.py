"""What stands there at the end: the table, the figures, who checked them, the file for programs, and where to look next."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent
from typing import Final

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from millpond_demo.ledger import Money
from millpond_demo.story import Story, Told
from millpond_demo.summary import as_json, table

# What the table needs, with every digit.
COLUMNS_MIN: Final = 116


def show(story: Story, told: Told, *, stay: bool) -> None:
    """Prints it, and writes ``summary.json``."""
    console, summary = story.screen.console, told.summary
    (story.directory / "summary.json").write_text(as_json(summary, told.money, told.ledger) + "\n")
    console.print()
    # An amount that is cut short is none: rather a line too long for a narrow terminal.
    console.width = max(console.width, COLUMNS_MIN)
    console.print(table(summary, told.money, told.ledger))
    console.print(_conservation(told.money), soft_wrap=True)
    console.print()
    killed = f", though {story.victim} was killed {told.kills} times" if told.kills else ""
    console.print(
        f"{summary.requested} jobs: {summary.succeeded} succeeded, {summary.reassigned} of them on a second device; "
        f"{summary.usage_lines} usage lines, each with a receipt{killed}.",
        soft_wrap=True,
    )
    for program, times in story.programs.faults.items():
        console.print(f"{program} ended by itself {times} times, and was started again.", style="yellow")
    console.print()
    _checks(console, told)
    console.print()
    _where(console, story, told)
    if stay:
        _next(console, story)


def _conservation(money: Money) -> str:
    return (
        f"{money.revenue_wei:,} wei of tickets = {money.contributors_wei:,} of contributors + {money.operator_wei:,} of the "
        f"operator + {money.carried_wei:,} carried; {money.gas_wei:,} of gas came out of the treasury's own money."
    )


def _checks(console: Console, told: Told) -> None:
    # The audit's own table has the figures that stand above; what it found is its last line.
    checks = (("audit", told.audit_says.strip().splitlines()[-1]), ("receipt verify", told.receipt_says.strip()))
    for command, says in checks:
        console.print(Text.assemble((f"`millpond {command}` says:\n", "grey50"), indent(says, "  ")), soft_wrap=True)


def _where(console: Console, story: Story, told: Told) -> None:
    rows = (
        (
            "the renditions, to play",
            " ".join(path.name for path in told.files.values()),
            story.directory / "renditions",
        ),
        ("a receipt", told.receipt.name, told.receipt.parent),
        ("the figures, for programs", "summary.json", story.directory),
        ("what each program said", "*/log", story.directory / "programs"),
    )
    for title, names, folder in rows:
        console.print(Text.assemble((f"{title:<28}", "grey50"), f"{_short(folder)}/", (names, "bold")), soft_wrap=True)


def _next(console: Console, story: Story) -> None:
    environment = _short(story.pool.write_environment())
    lines = (
        f"set -a; . {environment}; set +a        # in another terminal: where this pool is",
        "millpond send VIDEO --rendition 360p --output .local/mine",
        "millpond terms show",
        "millpond epoch show",
        "millpond audit --rpc $MILLPOND_CHAIN_RPC_URL",
        f"millpond agent join {story.pool.url}    # with a wallet in your browser: one more contributor",
        f"open {story.pool.url}/openapi.json      # what gateways and agents may ask",
    )
    console.print()
    console.print(Panel("\n".join(lines), title="The pool stays up until Ctrl-C", title_align="left", expand=False))


def _short(path: Path) -> str:
    """As one would type it from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
