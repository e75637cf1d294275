"""Where jobs run on this machine: each GPU with the runner beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millpond.events.device_claims import Gpu
from millpond.hardware.nvml import read_gpus
from millpond_agent.errors import RunnerLost, RunnerUnusable
from millpond_agent.inventory import gpu_of, gpu_shown, software_gpu
from millpond_agent.runner_client import RunnerClient
from millpond_agent.runner_process import RunnerProcess
from millpond_agent.settings import AgentSettings

SLOTS_OF_A_CARD = 2
LOOK_EVERY_S = 5.0

Told = Callable[[str], None]


class Runner(Protocol):
    """``client`` is None while it doesn't answer."""

    @property
    def client(self) -> RunnerClient | None: ...

    async def keep(self) -> None:
        """Sees to it that it answers again when it doesn't; never ends."""

    async def stop(self) -> None: ...


@dataclass(frozen=True)
class Station:
    gpu: Gpu
    runner: Runner
    # Whether its load is read on this machine, or asked of its runner.
    is_own: bool


class PointedRunner:
    """A runner that somebody else starts and stops."""

    def __init__(self, url: str, token: str | None, told: Told) -> None:
        self._client = RunnerClient(url, token)
        self._told = told
        self._answers = True

    @property
    def client(self) -> RunnerClient | None:
        return self._client if self._answers else None

    async def keep(self) -> None:
        while True:
            answers = await self._client.is_well()
            if answers != self._answers:
                self._told(f"The runner at {self._client.url} {'answers again' if answers else 'does not answer'}.")
            self._answers = answers
            await asyncio.sleep(LOOK_EVERY_S)

    async def stop(self) -> None:
        await self._client.aclose()


@asynccontextmanager
async def stations(settings: AgentSettings, told: Told) -> AsyncIterator[tuple[Station, ...]]:
    """All of this machine's, with their runners; stopped at the end. Raises ``RunnerUnusable`` or ``GpusUnreadable``."""
    async with AsyncExitStack() as stack:
        if settings.runners:
            found = await _pointed_at(settings, told, stack)
        else:
            found = await _own(settings, told, stack)
        keepers = [asyncio.create_task(station.runner.keep()) for station in found]
        try:
            yield found
        finally:
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)


async def _own(settings: AgentSettings, told: Told, stack: AsyncExitStack) -> tuple[Station, ...]:
    found = []
    for card in await asyncio.to_thread(read_gpus):
        slots = settings.slots or SLOTS_OF_A_CARD
        runner = _runner_process(settings, told, slots=slots, gpu=card.id)
        stack.push_async_callback(runner.stop)
        announced = await runner.start()
        if announced.encoder.endswith("_nvenc"):
            found.append(Station(gpu_of(card, slots), runner, is_own=True))
        else:
            # Work that the processor does must not be sold as this card's.
            told(f"{card.name or card.id} can't encode video here ({announced.encoder} would do it): it is left out.")
            await runner.stop()
    if found:
        return tuple(found)
    gpu = software_gpu(settings.slots)
    runner = _runner_process(settings, told, slots=gpu.slots, gpu=None)
    stack.push_async_callback(runner.stop)
    await runner.start()
    return (Station(gpu, runner, is_own=True),)


def _runner_process(settings: AgentSettings, told: Told, *, slots: int, gpu: str | None) -> RunnerProcess:
    log: Path = settings.directory / f"runner-{gpu or 'software'}.log"
    return RunnerProcess(slots=slots, gpu=gpu, log=log, told=told)


async def _pointed_at(settings: AgentSettings, told: Told, stack: AsyncExitStack) -> tuple[Station, ...]:
    token = settings.runner_token.get_secret_value() if settings.runner_token else None
    found: list[Station] = []
    for url in settings.runners:
        runner = PointedRunner(url, token, told)
        stack.push_async_callback(runner.stop)
        found.append(Station(await _asked(url, runner, settings.slots, len(found)), runner, is_own=False))
    if len({station.gpu.hardware_id for station in found}) < len(found):
        raise RunnerUnusable(
            url=", ".join(settings.runners), problem="several of them use the same GPU. Give each GPU one runner"
        )
    return tuple(found)


async def _asked(url: str, runner: PointedRunner, slots: int | None, number: int) -> Gpu:
    client = runner.client
    assert client is not None
    try:
        if not await client.is_well():
            raise RunnerUnusable(url=url, problem="it does not answer, or not well. Start it first, or correct the URL")
        capacity, cards = await client.capacity(), await client.cards("info")
    except RunnerLost as error:
        raise RunnerUnusable(url=url, problem=str(error)) from error
    if len(cards) > 1:
        raise RunnerUnusable(
            url=url, problem=f"it shows {len(cards)} GPUs, and a runner is for one. Set MILLPOND_RUNNER_GPU there"
        )
    offered = capacity.slots if capacity else 1
    at_once = min(slots or offered, offered) if capacity else slots or offered
    encodes = capacity is None or capacity.encoder.endswith("_nvenc")
    if cards and encodes:
        return gpu_shown(next(iter(cards.values())), at_once)
    return software_gpu(at_once, number)
