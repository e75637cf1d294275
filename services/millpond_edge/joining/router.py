"""The routes by which machines and their contributors come into the pool, and go."""

from __future__ import annotations

from fastapi import APIRouter

from millpond_edge.joining.actions import router as actions
from millpond_edge.joining.drafts import router as drafts
from millpond_edge.joining.machines import router as machines
from millpond_edge.joining.pages import router as pages
from millpond_edge.joining.wallet import router as wallet

router = APIRouter()
for each in (machines, actions, wallet, drafts, pages):
    router.include_router(each)
