"""What a benchmark reports: a figure beside its baseline from the same run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from millpond.localstack import LocalStack


@dataclass(frozen=True)
class Run:
    """One run's value, and what the baseline did in the same run (None: the goal is absolute)."""

    value: float
    baseline: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """``goal``: of the ratio if there is a baseline, of the value otherwise; ``better`` says which side of it is good.

    ``judged`` is "value" where the baseline is only shown beside an absolute goal.
    """

    name: str
    unit: str
    goal: float
    better: Literal["more", "less"]
    run: Callable[[LocalStack], Run]
    runs: int = 5
    judged: Literal["ratio", "value"] = "ratio"


@dataclass(frozen=True)
class Figure:
    """The median of several runs. ``spread``: (highest - lowest) / median of the value."""

    value: float
    unit: str
    baseline: float | None
    ratio: float | None
    goal: float
    spread: float
    met: bool


def summarise(benchmark: Benchmark, runs: Sequence[Run]) -> Figure:
    values = [run.value for run in runs]
    value = statistics.median(values)
    baselines = [run.baseline for run in runs if run.baseline is not None]
    baseline = statistics.median(baselines) if baselines else None
    # Of each run by itself, since the machine may have been busier in one than in another.
    ratio = statistics.median(run.value / run.baseline for run in runs if run.baseline) if baselines else None
    judged = value if ratio is None or benchmark.judged == "value" else ratio
    met = judged >= benchmark.goal if benchmark.better == "more" else judged < benchmark.goal
    spread = (max(values) - min(values)) / value
    return Figure(value, benchmark.unit, baseline, ratio, benchmark.goal, spread, met)
