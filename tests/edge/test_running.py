"""Edge as a process of its own, before anything that it needs is there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from edge.pool import RECEIPT_KEY
from stream.workers import Workers, free_port, wait_until

# Only an edge that hangs reaches it.
WITHIN_S = 120.0
NOBODY = "127.0.0.1:1"


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(NOBODY, f"postgresql://nobody@{NOBODY}/none", tmp_path)
    yield workers
    workers.end()


def settings(directory: Path) -> dict[str, str]:
    return {
        "MILLPOND_EDGE_PORT": str(free_port()),
        "MILLPOND_EDGE_RECEIPT_KEY": RECEIPT_KEY,
        "MILLPOND_BLOBS_URL": str(directory / "blobs"),
    }


async def test_while_kafka_is_away_it_says_that_it_starts_and_can_be_told_to_stop(
    workers: Workers, tmp_path: Path
) -> None:
    edge = workers.start("edge", program="millpond_edge", **settings(tmp_path))

    async def said() -> httpx.Response | None:
        async with httpx.AsyncClient() as http:
            try:
                return await http.get(f"http://127.0.0.1:{edge.health_port}/ready")
            except httpx.TransportError:
                return None

    answer = await wait_until(said, WITHIN_S)
    assert answer is not None
    assert (answer.status_code, answer.json()["reasons"][0].partition(":")[0]) == (503, "starting")
    await wait_until(lambda: "away" in edge.log_text(), WITHIN_S)
    edge.terminate()


async def test_a_taken_health_port_is_refused_with_the_settings_to_change(workers: Workers, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        edge = workers.start("edge", program="millpond_edge", **settings(tmp_path), MILLPOND_HEALTH_PORT=port)
        await wait_until(lambda: not edge.running, WITHIN_S)
    assert edge.process.returncode == 1
    assert "MILLPOND_HEALTH_PORT to a free one" in edge.log_text()
    assert "Traceback" not in edge.log_text()
