"""Writes the table of metrics into this package's README: ``python -m millpond.telemetry.readme`` in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from millpond.telemetry.metrics import METRICS

README: Final = Path(__file__).with_name("README.md")
BEGIN: Final = "<!-- metrics: written by python -m millpond.telemetry.readme -->\n"
END: Final = "<!-- end of metrics -->\n"


def with_metrics(text: str) -> str:
    """``text`` of the README with today's table between its markers. Raises ``ValueError`` if a marker is missing."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + metrics_table() + END + after


def metrics_table() -> str:
    """Every metric, as a Markdown table."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    rows += [f"| `{name}` | {m.kind} | {', '.join(m.labels) or '–'} | {m.meaning} |" for name, m in METRICS.items()]
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    README.write_text(with_metrics(README.read_text()))
