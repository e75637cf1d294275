"""One component of the stack: Kafka, PostgreSQL or anvil, wherever it runs."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Protocol

from millpond.errors import MillpondError

START_SECONDS_MAX = 60.0
POLL_S = 0.05


class ComponentFailed(MillpondError):
    """{component} {what}. The end of {log}: {tail}"""


class Runner(Protocol):
    """How a component is run: a process under guard, or a container."""

    @property
    def log_name(self) -> str: ...
    @property
    def running(self) -> bool: ...
    def prepare(self) -> None:
        """Whatever the first start needs: downloads, formatting. Quick if already done."""

    def launch(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def log_tail(self) -> str: ...


class Component(ABC):
    """``start`` returns once it answers, always on the same port, with the data that it had when it was stopped or killed.

    ``stop`` is orderly, ``kill`` is SIGKILL, ``freeze`` is SIGSTOP: connections stay open and nothing answers.
    """

    name: str

    def __init__(self, runner: Runner, port: int) -> None:
        self.runner = runner
        self.port = port
        self.wanted = False
        self.start_s = 0.0
        self._changing = threading.Lock()

    @property
    @abstractmethod
    def address(self) -> str:
        """What a client needs to connect, fit to be shown."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it serves requests now. Never raises; may take up to a second."""

    @property
    def running(self) -> bool:
        return self.runner.running

    def start(self) -> None:
        """Raises ``ComponentFailed`` with the end of its log if it ends, or doesn't answer in a minute."""
        self.wanted = True
        self.bring_up()

    def bring_up(self) -> None:
        """``start``, unless ``stop`` was called meanwhile: then raises ``ComponentFailed``, and nothing runs."""
        begun = time.monotonic()
        self.runner.prepare()
        with self._changing:
            if not self.wanted:
                raise self._failure("was stopped while starting")
            self.runner.launch()
        launched = time.monotonic()
        while not self.answers():
            if not self.runner.running:
                raise self._failure("ended while starting")
            if time.monotonic() > launched + START_SECONDS_MAX:
                self.runner.stop()
                raise self._failure(f"did not answer within {START_SECONDS_MAX:.0f} s")
            time.sleep(POLL_S)
        self.start_s = time.monotonic() - begun

    def stop(self) -> None:
        with self._changing:
            self.wanted = False
            self.runner.stop()

    def kill(self) -> None:
        self.runner.kill()

    def freeze(self) -> None:
        self.runner.freeze()

    def thaw(self) -> None:
        self.runner.thaw()

    def _failure(self, what: str) -> ComponentFailed:
        return ComponentFailed(
            component=self.name, what=what, log=self.runner.log_name, tail=self.runner.log_tail().strip()
        )
