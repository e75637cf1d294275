"""An edge, a client of it, and a clip."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway_client.clips import clip
from gateway_client.edge_double import API_KEY, EdgeDouble, edge_double
from millpond_cli.gateway.client import EdgeClient


@pytest.fixture
async def edge() -> AsyncIterator[EdgeDouble]:
    async with edge_double() as edge:
        yield edge


@pytest.fixture
async def client(edge: EdgeDouble) -> AsyncIterator[EdgeClient]:
    async with EdgeClient.open(edge.url, API_KEY, patience_s=20) as client:
        yield client


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three segments of 30, 30 and 15 frames, with sound."""
    return clip(tmp_path_factory.mktemp("clip") / "clip.mp4", sound=True)
