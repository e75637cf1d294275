"""A runner as a child of the agent: started, started again when it dies, and gone with the agent."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from millpond_agent.errors import RunnerUnusable
from millpond_agent.rules import reconnect_s
from millpond_agent.runner_client import RunnerClient

# ffmpeg's test encode on a busy machine takes seconds.
ANNOUNCE_S_MAX: Final = 60.0
# Whoever stops it has waited for the jobs already.
STOP_S_MAX: Final = 3.0
# A runner that lives as long as this begins a new row of failures.
SETTLED_S: Final = 30.0
COMMAND: Final = (sys.executable, "-m", "millpond_runner", "--die-with-parent")


class Announced(BaseModel):
    """The line that a runner prints once it listens."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    pid: int
    encoder: str
    slots: int


class RunnerProcess:
    """``client`` is None while no runner answers. It dies with the thread that called ``start``: call it in the main one."""

    def __init__(
        self,
        *,
        slots: int,
        gpu: str | None,
        log: Path,
        told: Callable[[str], None],
        command: Sequence[str] = COMMAND,
    ) -> None:
        """``gpu``: the NVML UUID of the card it is to use. ``told`` hears a sentence when the runner dies."""
        self.client: RunnerClient | None = None
        self._token = secrets.token_urlsafe(24)
        self._environment = _environment(slots=slots, gpu=gpu, token=self._token)
        self._log = log
        self._told = told
        self._command = command
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> Announced:
        """Returns once the runner listens. Raises ``RunnerUnusable``, which quotes the end of its log."""
        with self._log.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                env=self._environment,
                # Ctrl-C at the terminal is for the agent, which lets the running jobs finish.
                start_new_session=True,
            )
        self._process = process
        assert process.stdout is not None
        line = b""
        with suppress(TimeoutError):
            line = await asyncio.wait_for(process.stdout.readline(), ANNOUNCE_S_MAX)
        try:
            announced = Announced.model_validate_json(line)
        except ValidationError as error:
            await self._end()
            tail = self._log.read_bytes()[-600:].decode(errors="replace").strip()
            raise RunnerUnusable(
                url="its own process", problem=f"it did not start. {self._log} ends: {tail}"
            ) from error
        self.client = RunnerClient(announced.url, self._token)
        return announced

    async def keep(self) -> None:
        """Waits for its death and starts another, for ever."""
        failures = 0
        while True:
            assert self._process is not None
            began = asyncio.get_running_loop().time()
            code = await self._process.wait()
            # Not closed: who uses it hears from the broken connection.
            self.client = None
            failures = 0 if asyncio.get_running_loop().time() - began > SETTLED_S else failures + 1
            self._told(f"The runner ended ({_how(code)}); it is started again.")
            await asyncio.sleep(reconnect_s(failures, chance=0.5))
            try:
                await self.start()
            except RunnerUnusable as error:
                self._told(str(error))

    async def stop(self) -> None:
        client, self.client = self.client, None
        if client is not None:
            await client.aclose()
        await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S_MAX)
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _environment(*, slots: int, gpu: str | None, token: str) -> Mapping[str, str]:
    return {
        **os.environ,
        "MILLPOND_RUNNER_HOST": "127.0.0.1",
        "MILLPOND_RUNNER_PORT": "0",
        "MILLPOND_RUNNER_SLOTS": str(slots),
        # On a machine with cards each runner sees its own; one that does without sees none.
        **({"MILLPOND_RUNNER_GPU": gpu} if gpu else {"MILLPOND_RUNNER_ENCODER": "libx264"}),
        "MILLPOND_RUNNER_AUTH_TOKEN": token,
    }


def _how(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit {code}"
