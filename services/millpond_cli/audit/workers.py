"""Partitions are independent of each other until an epoch is put together: they are read by as many processes as can run."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.sharedctypes import Synchronized
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from millpond.stream.log import Log
from millpond_cli.audit.reading import OpenLog, Told

# Below this, starting a process takes longer than reading.
WORTH_A_PROCESS: Final = 100_000
LOOK_S: Final = 0.1

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Log, T, Told], Awaitable[R]]


class Workers:
    """Runs work on parts, here or in ``processes`` processes; what is raised is that of the first part, in their order.

    ``open_log`` is called where the work is done. ``told`` hears, here, how many records have been read.
    """

    def __init__(self, open_log: OpenLog, told: Told, *, processes: int) -> None:
        self._open_log = open_log
        self._told = told
        self._processes = processes
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

    def each(self, work: Work[T, R], parts: Sequence[T]) -> list[R]:
        """The results, in the order of the parts."""
        if self._processes < 2 or len(parts) < 2:
            return [self.one(work, part) for part in parts]
        futures = [self._started().submit(_work, work, part) for part in parts]
        waiting: set[Future[R]] = set(futures)
        while waiting:
            waiting = wait(waiting, timeout=LOOK_S).not_done
            self._tell()
        return [future.result() for future in futures]

    def one(self, work: Work[T, R], part: T) -> R:
        async def run() -> R:
            return await work(self._open_log(), part, self._told)

        return asyncio.run(run())

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Spawned: a process that was forked beside Kafka's connections and rich's threads may hang.
            context = multiprocessing.get_context("spawn")
            self._read = context.Value("q", 0)
            self._pool = ProcessPoolExecutor(self._processes, context, _begin, (self._open_log, self._read))
        return self._pool

    def _tell(self) -> None:
        assert self._read is not None
        now = self._read.value
        self._told(now - self._heard)
        self._heard = now


def processes_for(records: int) -> int:
    """How many are worth their start."""
    return min(os.cpu_count() or 1, 1 + records // WORTH_A_PROCESS)


_here: dict[str, Any] = {}


def _begin(open_log: OpenLog, read: Synchronized[int]) -> None:
    _here.update(open_log=open_log, read=read)


def _work(work: Work[T, R], part: T) -> R:
    def told(count: int) -> None:
        with _here["read"].get_lock():
            _here["read"].value += count

    async def run() -> R:
        return await work(_here["open_log"](), part, told)

    return asyncio.run(run())
