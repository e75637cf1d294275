"""What the runner is, how it is, and how busy."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from millpond_runner.command import Encoder
from millpond_runner.workshop import OpenWorkshop

PIPELINE: Final = "transcode"
MODEL_ID: Final = "h264"
VERSION: Final = version("millpond")

router = APIRouter()


class Health(BaseModel):
    status: Literal["OK", "ERROR"]


class Version(BaseModel):
    pipeline: str = PIPELINE
    model_id: str = MODEL_ID
    version: str = VERSION


class Capacity(BaseModel):
    encoder: Encoder
    slots: int
    running: int


@router.get("/health")
async def health(workshop: OpenWorkshop) -> Health:
    return Health(status="OK" if workshop.ffmpeg.is_there and workshop.workspace.is_there else "ERROR")


@router.get("/version")
async def told_version() -> Version:
    return Version()


@router.get("/capacity")
async def capacity(workshop: OpenWorkshop) -> Capacity:
    return Capacity(encoder=workshop.ffmpeg.encoder, slots=workshop.slots, running=workshop.jobs.running)
