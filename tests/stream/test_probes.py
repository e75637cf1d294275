"""Health of a program that is no ``Service``: it is there while the program is, and the program ends with it."""

from __future__ import annotations

import asyncio
import socket

import httpx
import pytest

from millpond.settings import HealthSettings
from millpond.stream.listening import CannotListen, Listener
from millpond.stream.probes import Probes
from millpond.telemetry.metrics import Metrics
from stream.workers import free_port

# Only probes that hang reach it.
WITHIN_S = 120.0


def probes(reasons: list[str], port: int, stopping: asyncio.Event) -> Probes:
    settings = HealthSettings(host="127.0.0.1", port=port)
    return Probes(Metrics(service="test"), lambda: reasons, settings, stopping)


async def test_ready_is_asked_each_time_and_the_port_is_free_afterwards() -> None:
    reasons, port = ["starting"], free_port()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        async with probes(reasons, port, asyncio.Event()):
            assert (await http.get("/live")).status_code == 200
            answer = await http.get("/ready")
            assert (answer.status_code, answer.json()) == (503, {"ok": False, "reasons": ["starting"]})
            reasons.clear()
            answer = await http.get("/ready")
            assert (answer.status_code, answer.json()) == (200, {"ok": True, "reasons": []})
            assert (await http.get("/metrics")).headers["content-type"].startswith("text/plain; version=0.0.4")
        with pytest.raises(httpx.ConnectError):
            await http.get("/live")


async def test_an_address_that_is_taken_is_named_with_the_settings_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as refused:
            async with probes([], port, asyncio.Event()):
                pass
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert "Set MILLPOND_HEALTH_HOST and MILLPOND_HEALTH_PORT" in " ".join(str(refused.value).split())


async def test_probes_that_die_end_the_program_with_what_they_died_of(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = asyncio.Event()

    async def dies(listener: Listener) -> None:
        raise OSError("out of files")

    monkeypatch.setattr(Listener, "main_loop", dies)
    with pytest.raises(OSError, match="out of files"):
        async with asyncio.timeout(WITHIN_S), probes([], free_port(), stopping):
            await stopping.wait()
