"""Partitions are independent of each other until an epoch is put together: they are read by as many processes as can run."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from contextlib import AsyncExitStack
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.util import Finalize
from types import TracebackType
from typing import Final, Self, TypeVar

from millpond.stream.log import Log
from millpond_cli.audit.logs import OpenLog
from millpond_cli.audit.reading import Told

# Below this, starting a process takes longer than reading.
WORTH_A_PROCESS: Final = 100_000
LOOK_S: Final = 0.1

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Log, T, Told], Awaitable[R]]


class Workers:
    """Runs work on parts, here or in ``processes`` processes; what is raised is that of the first part, in their order.

    A log is opened in each process, and kept. ``told`` hears, here, how many records have been read.
    """

    def __init__(self, open_log: OpenLog, told: Told) -> None:
        self.processes = 1
        self._open_log = open_log
        self._told = told
        self._here = _Reading(open_log, told)
        self._pool: ProcessPoolExecutor | None = None
        self._read: Synchronized[int] | None = None
        self._heard = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._here.close()

    def ask(self, question: Callable[[Log], Awaitable[R]]) -> R:
        """Of the log that is open here."""
        return self._here.ask(question)

    def each(self, work: Work[T, R], parts: Sequence[T]) -> list[R]:
        """The results, in the order of the parts."""
        if self.processes < 2 or len(parts) < 2:
            return [self.one(work, part) for part in parts]
        futures = [self._started().submit(_work, work, part) for part in parts]
        waiting: set[Future[R]] = set(futures)
        while waiting:
            waiting = wait(waiting, timeout=LOOK_S).not_done
            self._tell()
        return [future.result() for future in futures]

    def one(self, work: Work[T, R], part: T) -> R:
        return self._here.ask(lambda log: work(log, part, self._told))

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: a process that was forked beside Kafka's connections and rich's threads may hang.
            context = multiprocessing.get_context("spawn")
            self._read = context.Value("q", 0)
            self._pool = ProcessPoolExecutor(self.processes, context, _begin, (self._open_log, self._read))
        return self._pool

    def _tell(self) -> None:
        assert self._read is not None
        now = self._read.value
        self._told(now - self._heard)
        self._heard = now


def processes_for(records: int) -> int:
    """How many are worth their start."""
    return min(os.cpu_count() or 1, 1 + records // WORTH_A_PROCESS)


class _Reading:
    """One process's event loop and its log, opened when it is first asked."""

    def __init__(self, open_log: OpenLog, told: Told) -> None:
        self.told = told
        self._runner = asyncio.Runner()
        self._opened = AsyncExitStack()
        self._open_log = open_log
        self._log: Log | None = None

    def ask(self, question: Callable[[Log], Awaitable[R]]) -> R:
        async def ask() -> R:
            if self._log is None:
                self._log = await self._opened.enter_async_context(self._open_log())
            return await question(self._log)

        return self._runner.run(ask())

    def close(self) -> None:
        self._runner.run(self._opened.aclose())
        self._runner.close()


# Of a process of the pool: set once, as it begins.
_READING: list[_Reading] = []


def _begin(open_log: OpenLog, read: Synchronized[int]) -> None:
    def told(count: int) -> None:
        with read.get_lock():
            read.value += count

    # Records come and go by the million, and none of them refers to itself.
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    reading = _Reading(open_log, told)
    _READING.append(reading)
    Finalize(None, reading.close, exitpriority=10)


def _work(work: Work[T, R], part: T) -> R:
    (reading,) = _READING
    return reading.ask(lambda log: work(log, part, reading.told))
