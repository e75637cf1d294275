"""What this machine's GPUs are, as the pool is told: what the hardware doesn't say is None, never zero."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from millpond.events.device_claims import Gpu, GpuLoad
from millpond.hardware import gpu as hardware
from millpond_agent.runner_client import Card

MODEL_UNKNOWN: Final = "unknown NVIDIA GPU"
CHARACTERS_MAX: Final = 128


def gpu_of(card: hardware.Gpu, slots: int) -> Gpu:
    """A card that NVML shows on this machine."""
    return Gpu(
        hardware_id=card.id,
        kind="nvidia",
        model=(card.name or MODEL_UNKNOWN)[:CHARACTERS_MAX],
        memory_bytes=card.memory_total_bytes,
        driver=card.driver[:CHARACTERS_MAX] if card.driver else None,
        slots=slots,
        workloads=("transcode",),
    )


def gpu_shown(card: Card, slots: int) -> Gpu:
    """A card that a runner shows. Raises ``pydantic.ValidationError`` if its id can't be one."""
    memory = hardware.memory(card.memory_total, card.memory_free)[0]
    model = (card.name or MODEL_UNKNOWN)[:CHARACTERS_MAX]
    return Gpu(
        hardware_id=card.id, kind="nvidia", model=model, memory_bytes=memory, slots=slots, workloads=("transcode",)
    )


def software_gpu(slots: int | None, number: int = 0) -> Gpu:
    """The processor, doing a GPU's work, and saying so. ``number`` tells several runners apart."""
    cores = os.cpu_count() or 1
    return Gpu(
        hardware_id=f"software-{number + 1}" if number else "software",
        kind="software",
        model=f"{_processor()}, {cores} cores"[:CHARACTERS_MAX],
        slots=slots or max(1, cores // 2),
        workloads=("transcode",),
    )


def load_of_card(gpu: Gpu, card: hardware.Gpu | None, running: int) -> GpuLoad:
    """``card``: what NVML says now; None if it says nothing."""
    return GpuLoad(
        hardware_id=gpu.hardware_id,
        running=running,
        utilization_percent=card.utilization_compute_percent if card else None,
        memory_free_bytes=card.memory_free_bytes if card else None,
        temperature_celsius=card.temperature_celsius if card else None,
    )


def load_shown(gpu: Gpu, card: Card | None, running: int) -> GpuLoad:
    """``card``: what the runner says now; a card's temperature is not part of that."""
    return GpuLoad(
        hardware_id=gpu.hardware_id,
        running=running,
        utilization_percent=hardware.within(card.utilization_compute, hardware.PERCENT) if card else None,
        memory_free_bytes=hardware.memory(card.memory_total, card.memory_free)[1] if card else None,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return "processor"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "processor")
