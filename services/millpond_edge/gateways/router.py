"""The routes of gateways."""

from __future__ import annotations

from fastapi import APIRouter

from millpond_edge.gateways.blobs import router as blobs
from millpond_edge.gateways.events import router as events
from millpond_edge.gateways.jobs import router as jobs

router = APIRouter()
router.include_router(blobs)
# Before /jobs/{job}, which would take "events" for a job.
router.include_router(events)
router.include_router(jobs)
