"""What all routes have in common: one shape of errors, a limit on bodies, and no answer before edge knows the pool."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from edge.pool import WITHIN_S, PoolLog, RunningEdge, running_edge
from millpond.events.gateway_jobs import JobCancelled
from millpond.events.topics import REGISTRY_GATEWAYS
from millpond.stream.follow import FollowStopped
from millpond.stream.log import Outbound
from millpond.stream.record import Place
from millpond_edge.body_limit import BODY_BYTES_MAX


async def test_every_error_has_the_one_shape(edge: RunningEdge) -> None:
    for method, path, status in (("GET", "/nowhere", 404), ("PATCH", "/jobs", 405), ("GET", "/docs", 404)):
        answer = await edge.http.request(method, path)
        error = answer.json()["error"]
        assert (answer.status_code, sorted(error), path in error["sentence"]) == (status, ["reason", "sentence"], True)


async def test_a_surprise_tells_a_stranger_nothing(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = await edge.gateway()
    monkeypatch.setattr(edge.door.jobs, "job", lambda *_: 1 / 0)
    with capture_logs() as told:
        answer = await edge.http.get("/jobs/x", headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (500, "internal")
    assert "ZeroDivision" not in answer.text
    # Whoever runs edge learns what it was.
    assert [type(each["exc_info"]) for each in told if "exc_info" in each] == [ZeroDivisionError]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_would_fill_the_memory_is_refused_before_any_route_sees_it(
    edge: RunningEdge, announced: bool
) -> None:
    async def endless() -> object:
        for _ in range(1_000):
            yield b"x" * 10_000

    content = b"x" * (BODY_BYTES_MAX + 1) if announced else endless()
    try:
        answer = await edge.http.post("/jobs", content=content)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "body-too-large")
    except (httpx.WriteError, httpx.ReadError):
        assert not announced  # edge closes the connection in the face of a body that it will not take
    assert (await edge.http.get("/jobs/x")).status_code == 401


async def test_nobody_is_answered_before_edge_knows_who_is_in(tmp_path: Path) -> None:
    log = PoolLog()
    key = log.admit_gateway("acme")
    async with running_edge(tmp_path, log, opened=False) as edge:
        headers = {"authorization": f"Bearer {key}"}
        answer = await edge.http.get("/jobs/x", headers=headers)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "starting")
        await edge.settled()
        edge.door.view.caught_up.set()
        assert (await edge.http.get("/jobs/x", headers=headers)).status_code == 404


async def test_a_follower_that_stopped_is_said_at_the_door_and_to_whoever_asks_for_health(edge: RunningEdge) -> None:
    headers, view = await edge.gateway(), edge.door.view
    assert view.why_not_ready() == []
    foreign = JobCancelled(job="5f0d9a1c-6f0e-4c39-9a55-0a7f3d1e8b42", gateway="acme")
    edge.log.append(Place(REGISTRY_GATEWAYS.name, 0), Outbound(b"acme", foreign.to_bytes(), (), 1))
    async with asyncio.timeout(WITHIN_S):
        while not view.why_not_ready():  # noqa: ASYNC110  # the follower ends by itself
            await asyncio.sleep(0.01)
    assert REGISTRY_GATEWAYS.name in view.why_not_ready()[0]
    answer = await edge.http.get("/jobs/x", headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "starting")
    assert FollowStopped.__doc__ is not None


async def test_too_many_requests_of_one_key_are_told_when_to_come_back(tmp_path: Path) -> None:
    async with running_edge(tmp_path, settings={"requests_per_s": 0.1, "requests_burst": 2}) as edge:
        hasty, patient = await edge.gateway("hasty"), await edge.gateway("patient")
        statuses = [(await edge.http.get("/jobs/x", headers=hasty)).status_code for _ in range(3)]
        assert statuses == [404, 404, 429]
        answer = await edge.http.get("/jobs/x", headers=hasty)
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert (await edge.http.get("/jobs/x", headers=patient)).status_code == 404
        guessed = {"authorization": hasty["authorization"][:-1] + "!"}
        assert (await edge.http.get("/jobs/x", headers=guessed)).status_code == 401


async def test_what_edge_offers_is_described(edge: RunningEdge) -> None:
    described = (await edge.http.get("/openapi.json")).json()
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            assert route.get("description"), f"{method} {path} has no description"
