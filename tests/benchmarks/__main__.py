"""``make bench [ONLY=name]``: runs the benchmarks, prints a table, writes ``.local/bench.json``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.audit_throughput import AUDIT
from benchmarks.edge_agents import ACKNOWLEDGEMENT, AGENTS_A_CORE
from benchmarks.figure import Benchmark, Figure, summarise
from benchmarks.metering_throughput import METERING
from benchmarks.scheduler_assignment import ASSIGNMENT_P99
from benchmarks.scheduler_decisions import DECISION_P99, DECISIONS, DECISIONS_10K
from benchmarks.stream_latency import LATENCY
from benchmarks.stream_throughput import THROUGHPUT
from benchmarks.treasury_gas import GAS_PER_PAYEE
from benchmarks.treasury_payees import PAYEES_1000
from millpond.localstack import LocalStack

BENCHMARKS: tuple[Benchmark, ...] = (
    THROUGHPUT,
    LATENCY,
    ASSIGNMENT_P99,
    DECISIONS,
    DECISIONS_10K,
    DECISION_P99,
    METERING,
    AGENTS_A_CORE,
    ACKNOWLEDGEMENT,
    AUDIT,
    GAS_PER_PAYEE,
    PAYEES_1000,
)
LOCAL = Path(__file__).parents[2] / ".local"


def main(only: str) -> int:
    chosen = [benchmark for benchmark in BENCHMARKS if not only or benchmark.name == only]
    console = Console()
    if not chosen:
        console.print(f"There is no benchmark {only!r}; there are {', '.join(each.name for each in BENCHMARKS)}.")
        return 1
    figures = {}
    stack = LocalStack(LOCAL / "bench", ("kafka", "postgres"))
    with stack:
        for benchmark in chosen:
            runs = []
            for n in range(benchmark.runs):
                runs.append(benchmark.run(stack))
                console.print(f"{benchmark.name} {n + 1}/{benchmark.runs}: {runs[-1]}", style="dim")
            figures[benchmark.name] = summarise(benchmark, runs)
    stack.discard()
    _write(figures)
    console.print(_table(figures))
    return 0


def _write(figures: dict[str, Figure]) -> None:
    path = LOCAL / "bench.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(
        json.dumps({**known, **{name: asdict(figure) for name, figure in figures.items()}}, indent=2) + "\n"
    )


def _table(figures: dict[str, Figure]) -> Table:
    table = Table("benchmark", "value", "unit", "baseline", "ratio", "goal", "spread", "")
    for name, figure in figures.items():
        table.add_row(
            name,
            f"{figure.value:,.1f}",
            figure.unit,
            "" if figure.baseline is None else f"{figure.baseline:,.1f}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            f"{figure.goal:g}",
            f"{figure.spread:.0%}",
            "[green]met[/]" if figure.met else "[red]missed[/]",
        )
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
