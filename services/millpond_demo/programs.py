"""The pool's programs as processes of this machine: started, watched, killed, started again; gone when we are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from millpond.errors import MillpondError
from millpond.localstack.process import GuardedProcess

READY_S_MAX = 60.0
LOOK_EVERY_S = 0.1
# Looked for this often: a program that is killed comes back soon, as under a supervisor that restarts at once.
RESTART_EVERY_S = 0.2


class ProgramNotReady(MillpondError):
    """{program} was not ready within {limit_s:.0f} s. The end of {log}:
    {tail}"""


class _Process(GuardedProcess):
    # What a program may take to say goodbye: more than each of them allows itself.
    grace_s = 15.0

    def __init__(self, directory: Path, command: Sequence[str], environment: Mapping[str, str], lock: int) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory, lock=lock)
        self.environment = environment
        self._command = command

    def prepare(self) -> None:
        """Nothing to prepare."""

    def command(self) -> Sequence[str]:
        return self._command


@dataclass
class Program:
    """``ready_url`` answers 200 once it can work; None: nobody asks. ``wanted``: started again whenever it has ended."""

    name: str
    process: _Process
    ready_url: str | None
    wanted: bool = True
    # How often it ended without having been killed by us.
    faults: int = 0
    killed: bool = False
    # Who kills it and who starts it again are two threads.
    _changing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def running(self) -> bool:
        return self.process.running

    def kill(self) -> None:
        """SIGKILL to it and all it has started, as when the machine's power fails."""
        with self._changing:
            self.killed = True
            self.process.kill()

    def start_again(self) -> bool:
        """Whether it had ended by itself. Does nothing while it runs."""
        with self._changing:
            if self.process.running:
                return False
            self.process.stop()
            by_itself, self.killed = not self.killed, False
            self.faults += by_itself
            self.process.launch()
            return by_itself


class Programs:
    """Starts programs and keeps those alive that are wanted. ``stop`` ends all of them in an orderly way.

    ``lock`` stays open until the last of them has ended, whatever becomes of us; ``told`` hears of what ended unasked.
    """

    def __init__(self, directory: Path, *, lock: int, told: Callable[[str], None]) -> None:
        self._directory = directory
        self._lock = lock
        self._told = told
        self._programs: dict[str, Program] = {}
        self._watching: asyncio.Task[None] | None = None

    def __getitem__(self, name: str) -> Program:
        return self._programs[name]

    @property
    def faults(self) -> dict[str, int]:
        """How often each program ended by itself; those that never did are left out."""
        return {program.name: program.faults for program in self._programs.values() if program.faults}

    def start(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, ready_url: str | None = None
    ) -> None:
        process = _Process(self._directory / name, command, environment, self._lock)
        self._programs[name] = Program(name, process, ready_url)
        process.launch()

    async def wait_until_ready(self, names: Sequence[str]) -> None:
        """Raises ``ProgramNotReady`` with the end of its log."""
        async with httpx.AsyncClient(timeout=2.0) as client:
            await asyncio.gather(*(self._wait_until_ready(client, self._programs[name]) for name in names))

    async def _wait_until_ready(self, client: httpx.AsyncClient, program: Program) -> None:
        assert program.ready_url is not None, f"{program.name} has no address to ask"
        deadline = asyncio.get_running_loop().time() + READY_S_MAX
        while asyncio.get_running_loop().time() < deadline:
            try:
                if (await client.get(program.ready_url)).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(LOOK_EVERY_S)
        tail, log = program.process.log_tail(), program.process.log_name
        raise ProgramNotReady(program=program.name, limit_s=READY_S_MAX, log=log, tail=tail)

    def watch(self) -> None:
        """From now on what has ended and is wanted starts again."""
        self._watching = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            for program in tuple(self._programs.values()):
                if program.wanted and not program.running and await asyncio.to_thread(program.start_again):
                    previous = program.process.log.with_suffix(".previous")
                    self._told(f"{program.name} ended by itself: {previous} tells why.")
            await asyncio.sleep(RESTART_EVERY_S)

    async def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        # Those who work for others end first: what they say last is still heard.
        await asyncio.gather(*(asyncio.to_thread(each.process.stop) for each in self._programs.values()))
