"""How busy the GPUs are at this moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from millpond.events.device_claims import GpuLoad
from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.nvml import read_gpus
from millpond_agent.errors import RunnerLost
from millpond_agent.inventory import load_of_card, load_shown
from millpond_agent.rules import State
from millpond_agent.stations import Station


async def loads(stations: Sequence[Station], state: State) -> tuple[GpuLoad, ...]:
    """Of each station's GPU, in their order."""
    return tuple(await asyncio.gather(*(_load(station, state) for station in stations)))


async def _load(station: Station, state: State) -> GpuLoad:
    gpu = station.gpu
    running = state.running_on(gpu.hardware_id)
    if gpu.kind == "software":
        return load_of_card(gpu, None, running)
    try:
        if station.is_own:
            cards = await asyncio.to_thread(read_gpus)
            return load_of_card(gpu, next((card for card in cards if card.id == gpu.hardware_id), None), running)
        client = station.runner.client
        shown = await client.cards("stats") if client else {}
    except (GpusUnreadable, RunnerLost):
        # What has stopped answering is unknown; that is no reason to stop working.
        return load_of_card(gpu, None, running)
    return load_shown(gpu, next((card for card in shown.values() if card.id == gpu.hardware_id), None), running)
