"""Decisions of the scheduler's rules in process: attempts assigned and attempts closed, each signed result verified.

Jobs come in transactions of a hundred, as they do at such a rate; beside each, the results of a hundred earlier jobs.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from benchmarks.figure import Benchmark, Run
from millpond.events.event import Event
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from millpond.localstack import LocalStack
from millpond.stream.decision import Received
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond_scheduler.rules import Board, conclude, decide
from scheduler.play import Play, key_of, topic_of
from scheduler.samples import POOL, START_MS, gateway, gpu, joined, requested, succeeded, terms

SLOTS = 4
JOBS = 6_000
PER_TRANSACTION = 100


def run(stack: LocalStack, *, gpus: int) -> Run:
    """Decisions per second."""
    board, names = _pool(gpus)
    requests = [_received(requested(f"j{n}", deadline_s=600)) for n in range(JOBS)]
    results: list[Received] = []
    seconds, decisions = 0.0, 0
    with _as_in_service():
        for first in range(0, JOBS, PER_TRANSACTION):
            inputs = [*results, *requests[first : first + PER_TRANSACTION]]
            started_s = time.perf_counter()
            events = _transaction(board, inputs)
            seconds += time.perf_counter() - started_s
            decisions += sum(isinstance(event, JobAssigned | AttemptClosed) for event in events)
            results = [_received(succeeded(each, names[each.gpu])) for each in events if isinstance(each, JobAssigned)]
    return Run(decisions / seconds)


def run_single(stack: LocalStack) -> Run:
    """The 99th percentile of milliseconds of a transaction with one job in it, over 1,000 GPUs."""
    board, _ = _pool(1_000)
    requests = [_received(requested(f"j{n}", deadline_s=600)) for n in range(1_000 * SLOTS)]
    milliseconds = []
    with _as_in_service():
        for request in requests:
            started_s = time.perf_counter()
            _transaction(board, [request])
            milliseconds.append((time.perf_counter() - started_s) * 1_000)
    return Run(statistics.quantiles(milliseconds, n=100)[98])


@contextmanager
def _as_in_service() -> Iterator[None]:
    """With the collector as ``run_service`` sets it."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def _pool(gpus: int) -> tuple[Board, dict[str, str]]:
    """A board with that many GPUs of as many contributors, and the GPUs' names."""
    play = Play()
    play(terms(), gateway())
    for n in range(gpus):
        play(*joined(f"g{n}", slots=SLOTS))
    return play.board, {gpu(f"g{n}"): f"g{n}" for n in range(gpus)}


def _transaction(board: Board, inputs: Sequence[Received]) -> list[Event]:
    decisions = [decide(board, each, pool=POOL) for each in inputs]
    decisions.append(conclude(board))
    return [out.event for decision in decisions for out in decision.events]


def _received(event: Event) -> Received:
    """As it comes from the log: decoded, and its claim not read yet."""
    topic, key = topic_of(event), key_of(event)
    event = type(event).model_validate_json(event.to_bytes())
    place = Place(topic.name, partition_of(key.encode(), topic.partitions))
    return Received(topic.name, place, 0, key, event, START_MS, b"")


DECISIONS = Benchmark("scheduler.decisions", "decisions/s", 10_000, "more", partial(run, gpus=1_000))
DECISIONS_10K = Benchmark(
    "scheduler.decisions_10k_gpus", "decisions/s", 5_000, "more", partial(run, gpus=10_000), runs=3
)
DECISION_P99 = Benchmark("scheduler.decision_p99", "ms", 1.0, "less", run_single)
