"""The routes of contributors' programs."""

from __future__ import annotations

from fastapi import APIRouter

from millpond_edge.contributors.payouts import router as payouts
from millpond_edge.contributors.sessions import router as sessions

router = APIRouter()
router.include_router(sessions)
router.include_router(payouts)
