"""How busy the GPUs are at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from millpond.events.device_claims import GpuLoad
from millpond.hardware import gpu as hardware
from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.nvml import read_gpus
from millpond_agent.errors import RunnerLost
from millpond_agent.inventory import load_of_card, load_shown
from millpond_agent.rules import State
from millpond_agent.stations import Station


async def loads(stations: Sequence[Station], state: State) -> tuple[GpuLoad, ...]:
    """Of each station's GPU, in their order."""
    own: dict[str, hardware.Gpu] = {}
    if any(station.is_own and station.gpu.kind == "nvidia" for station in stations):
        # What has stopped answering is unknown; that is no reason to stop working.
        with suppress(GpusUnreadable):
            own = {card.id: card for card in await asyncio.to_thread(read_gpus)}
    return tuple(await asyncio.gather(*(_load(station, own, state) for station in stations)))


async def _load(station: Station, own: Mapping[str, hardware.Gpu], state: State) -> GpuLoad:
    gpu, client = station.gpu, station.runner.client
    running = state.running_on(gpu.hardware_id)
    if station.is_own or gpu.kind == "software" or client is None:
        return load_of_card(gpu, own.get(gpu.hardware_id), running)
    try:
        shown = await client.cards("stats")
    except RunnerLost:
        return load_of_card(gpu, None, running)
    return load_shown(gpu, next((card for card in shown.values() if card.id == gpu.hardware_id), None), running)
