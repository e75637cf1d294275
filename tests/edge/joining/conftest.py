"""An edge whose codes and sessions lie in a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from edge.pool import RunningEdge, running_edge
from millpond.stream.postgres.database import open_database
from millpond_edge.agents.sessions import schema as agents_schema
from millpond_edge.joining.store import schema


@pytest.fixture
async def tables(database: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_database(database, "edge", service_schema=schema() + agents_schema())
    yield opened.pool
    await opened.close()


@pytest.fixture
async def edge(tables: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[RunningEdge]:
    async with running_edge(tmp_path / "blobs", database=tables) as edge:
        yield edge
