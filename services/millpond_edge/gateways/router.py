"""The routes of gateways."""

from __future__ import annotations

from fastapi import APIRouter

router = APIRouter()
