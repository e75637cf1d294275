"""The GPUs, as go-livepeer's containers tell of them."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel

from millpond.hardware.gpu import Gpu
from millpond.hardware.nvml import read_gpus
from millpond_runner.routes.about import MODEL_ID, PIPELINE
from millpond_runner.workshop import OpenWorkshop, Workshop

router = APIRouter(prefix="/hardware")


class CardInfo(BaseModel):
    """``id`` is the NVML UUID, memory is in bytes. What the card didn't answer is null, never 0."""

    id: str
    name: str | None
    memory_total: int | None
    memory_free: int | None
    major: int | None
    minor: int | None


class CardStats(BaseModel):
    """As above; utilizations in percent."""

    id: str
    name: str | None
    memory_total: int | None
    memory_free: int | None
    utilization_compute: int | None
    utilization_memory: int | None


class HardwareInfo(BaseModel):
    """By NVML's index."""

    pipeline: str = PIPELINE
    model_id: str = MODEL_ID
    gpu_info: dict[str, CardInfo]


class HardwareStats(BaseModel):
    """By NVML's index."""

    pipeline: str = PIPELINE
    model_id: str = MODEL_ID
    gpu_stats: dict[str, CardStats]


@router.get("/info")
async def info(workshop: OpenWorkshop) -> HardwareInfo:
    cards = {
        str(gpu.index): CardInfo(
            id=gpu.id,
            name=gpu.name,
            memory_total=gpu.memory_total_bytes,
            memory_free=gpu.memory_free_bytes,
            major=gpu.major,
            minor=gpu.minor,
        )
        for gpu in await _gpus(workshop)
    }
    return HardwareInfo(gpu_info=cards)


@router.get("/stats")
async def stats(workshop: OpenWorkshop) -> HardwareStats:
    cards = {
        str(gpu.index): CardStats(
            id=gpu.id,
            name=gpu.name,
            memory_total=gpu.memory_total_bytes,
            memory_free=gpu.memory_free_bytes,
            utilization_compute=gpu.utilization_compute_percent,
            utilization_memory=gpu.utilization_memory_percent,
        )
        for gpu in await _gpus(workshop)
    }
    return HardwareStats(gpu_stats=cards)


async def _gpus(workshop: Workshop) -> list[Gpu]:
    """Those that this runner may use. Raises ``GpusUnreadable``."""
    found = await asyncio.to_thread(read_gpus)
    return [gpu for gpu in found if workshop.gpu in (None, gpu.id)]
