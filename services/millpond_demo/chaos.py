"""Kills one program again and again: what the pool promises must hold all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from millpond.errors import MillpondError
from millpond.localstack import LocalStack
from millpond_demo.programs import Programs

FIRST_AFTER_S = 0.5
# Counted from when it is back: long enough that it does something, short enough that it dies several times in a demo.
EVERY_S = 4.0

COMPONENTS = ("kafka", "postgres")


class UnknownVictim(MillpondError):
    """CHAOS is {victim!r}: choose from {known}."""


def check_victim(victim: str | None, programs: Sequence[str]) -> None:
    """Raises ``UnknownVictim``, before anything is started."""
    known = (*programs, *COMPONENTS)
    if victim is not None and victim not in known:
        raise UnknownVictim(victim=victim, known=", ".join(known))


class Chaos:
    """SIGKILLs ``victim`` every few seconds. ``kills`` counts."""

    def __init__(self, victim: str, programs: Programs, stack: LocalStack, told: Callable[[str], None]) -> None:
        self.victim = victim
        self.kills = 0
        self._programs = programs
        self._stack = stack
        self._told = told

    async def run(self) -> None:
        """Until cancelled; what it has killed then runs, or is about to. Raises ``ProgramNotReady`` if it doesn't come back."""
        await asyncio.sleep(FIRST_AFTER_S)
        while True:
            self.kills += 1
            self._told(f"chaos: {self.victim} is killed, for the {_ordinal(self.kills)} time.")
            killing = asyncio.create_task(asyncio.to_thread(self._kill))
            await asyncio.shield(killing)
            if self.victim not in COMPONENTS:
                await self._programs.wait_until_ready([self.victim])
            await asyncio.sleep(EVERY_S)

    def _kill(self) -> None:
        if self.victim in COMPONENTS:
            component = {each.name: each for each in self._stack.components}[self.victim]
            component.kill()
            component.start()
        else:
            # Programs.watch starts it again.
            self._programs[self.victim].kill()


def _ordinal(number: int) -> str:
    words = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
    return words[number - 1] if number <= len(words) else f"{number}th"
