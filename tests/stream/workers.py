"""Programs under test as processes of their own: started, killed, frozen, and never outliving the test run."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from millpond.localstack.ports import hold_free, number_of
from millpond.localstack.process import runs
from stream.nursery import Child, Nursery

TESTS = Path(__file__).parents[1]
# Bounds that only a hanging program reaches.
STOPPED_WITHIN_S = 20.0
POLL_S = 0.02

Answer = TypeVar("Answer")


@cache
def nursery() -> Nursery:
    """The one of this test run."""
    return Nursery()


class Worker:
    """One process of a service. Whatever a test leaves of it, ``Workers.end`` kills."""

    def __init__(self, process: Child, log: Path, health_port: int) -> None:
        self.process = process
        self.log = log
        self.health_port = health_port

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """A crash: SIGKILL, and it is gone when this returns."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP; returns once no thread of it runs any more."""
        os.kill(self.pid, signal.SIGSTOP)
        deadline_s = time.monotonic() + STOPPED_WITHIN_S
        while runs(self.pid):
            assert time.monotonic() < deadline_s, f"{self.pid} does not stop"
            time.sleep(0.001)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def ask_to_end(self) -> None:
        """SIGTERM, and returns at once."""
        self.process.terminate()

    def ended(self) -> None:
        """Waits for an orderly end: a program that was asked to stop finishes its transaction, publishes, and exits 0."""
        status = self.process.wait(STOPPED_WITHIN_S)
        assert status == 0, f"exit status {status}\n{self.log_tail()}"

    def terminate(self) -> None:
        self.ask_to_end()
        self.ended()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace")

    def log_tail(self) -> str:
        return self.log_text()[-6_000:]


class Workers:
    """Starts workers on one Kafka and one database. ``end`` leaves nothing running, and shows the logs' ends."""

    def __init__(self, bootstrap: str, dsn: str, directory: Path) -> None:
        self._bootstrap = bootstrap
        self._dsn = dsn
        self._directory = directory
        self.all: list[Worker] = []

    def start(self, name: str, shape: str = "grouped", program: str = "stream.tally", **environment: str) -> Worker:
        """``python -m program`` as service ``name``; ``environment`` comes on top of what every service needs."""
        log = self._directory / f"{name}-{len(self.all)}.log"
        worker = start_worker(
            self._bootstrap, self._dsn, name, shape=shape, program=program, log=log, environment=environment
        )
        self.all.append(worker)
        return worker

    def end(self) -> None:
        for worker in self.all:
            if worker.running:
                worker.kill()
            print(f"--- {worker.log.name}\n{worker.log_tail()}")


def start_worker(
    bootstrap: str,
    dsn: str,
    name: str,
    *,
    log: Path,
    shape: str = "grouped",
    program: str = "stream.tally",
    environment: dict[str, str] | None = None,
) -> Worker:
    """Starts ``python -m program``, which dies when this process dies. Its output goes to ``log``."""
    port = free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("MILLPOND_", "TALLY_"))}
    process = nursery().start(
        program,
        {
            **inherited,
            "PYTHONPATH": str(TESTS),
            "TALLY_NAME": name,
            "TALLY_SHAPE": shape,
            "MILLPOND_KAFKA_BOOTSTRAP_SERVERS": bootstrap,
            "MILLPOND_POSTGRES_DSN": dsn,
            "MILLPOND_POOL_ID": "pond",
            "MILLPOND_POOL_CHAIN_ID": "31337",
            "MILLPOND_HEALTH_PORT": str(port),
            **(environment or {}),
        },
        log,
    )
    return Worker(process, log, port)


async def wait_until(predicate: Callable[[], Answer | Awaitable[Answer]], within_s: float) -> Answer:
    """Asks until the answer is true, and returns it. ``within_s`` is what only a hanging program reaches."""
    deadline_s = time.monotonic() + within_s
    while True:
        answer = predicate()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer  # type: ignore[return-value]
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {_source(predicate)}"
        await asyncio.sleep(POLL_S)


def _source(predicate: Callable[[], object]) -> str:
    try:
        return inspect.getsource(predicate).strip()
    except TypeError:
        return repr(predicate)


def free_port() -> int:
    """One of those that the kernel gives to no outgoing connection in the meantime."""
    with hold_free() as held:
        return number_of(held)
