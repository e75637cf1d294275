"""``millpond`` as a process of its own, as one types it."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

from stream.nursery import Child
from stream.workers import nursery

# What only a command that hangs takes.
ENDS_WITHIN_S = 120.0
LOOK_S = 0.02


class Command:
    """One that runs, or has ended. ``out`` and ``err``: what it has said so far."""

    def __init__(self, directory: Path, *words: str, environment: Mapping[str, str] | None = None) -> None:
        name = uuid.uuid4().hex
        self._out, self._err = directory / f"{name}.out", directory / f"{name}.err"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MILLPOND_")}
        self.process: Child = nursery().start(
            "millpond_cli", kept | dict(environment or {}), self._out, words, errors=self._err
        )

    @property
    def out(self) -> str:
        return self._out.read_text() if self._out.exists() else ""

    @property
    def err(self) -> str:
        return self._err.read_text() if self._err.exists() else ""

    async def until(self, said: Callable[[str], bool]) -> str:
        """What it has said, once that is enough."""
        async with asyncio.timeout(ENDS_WITHIN_S):
            while not said(self.out):  # noqa: ASYNC110 - a file has no event for it
                await asyncio.sleep(LOOK_S)
        return self.out

    async def ended(self) -> int:
        """Its exit status; a signal's number below zero."""
        return await asyncio.to_thread(self.process.wait, ENDS_WITHIN_S)
