"""What the routes answer, and whom."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from millpond.hardware.errors import GpusUnreadable
from millpond.hardware.gpu import Gpu
from runner.conftest import SMALL, Runner, Served, spec

CARDS = (
    Gpu(0, "GPU-0", "A card", "570", 2**33, 2**32, 8, 9, 11, 12, 13, 50),
    Gpu(1, "GPU-1", None, None, None, None, None, None, None, None, None, None),
)


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millpond_runner.routes.hardware.read_gpus", lambda: CARDS)


async def test_it_says_what_it_is(runner: Runner) -> None:
    version = (await runner.http.get("/version")).json()
    assert (version["pipeline"], version["model_id"]) == ("transcode", "h264")
    assert (await runner.http.get("/capacity")).json() == {"encoder": "libx264", "slots": 2, "running": 0}
    assert "/transcode" in (await runner.http.get("/openapi.json")).json()["paths"]


async def test_a_working_directory_that_is_gone_is_an_error(runner: Runner) -> None:
    runner.folder.rename(runner.folder.with_name("elsewhere"))
    assert (await runner.http.get("/health")).json() == {"status": "ERROR"}
    with capture_logs() as logs:
        response = await runner.post(b"segment")
    assert logs[0]["event"] == "request_failed"
    assert (response.status_code, response.json()["detail"]["reason"]) == (500, "internal")
    assert (await runner.http.get("/capacity")).json()["running"] == 0
    runner.folder.with_name("elsewhere").rename(runner.folder)


async def test_what_a_card_does_not_answer_is_null(runner: Runner, cards: None) -> None:
    info = (await runner.http.get("/hardware/info/")).json()
    assert info["gpu_info"]["0"] == {
        "id": "GPU-0",
        "name": "A card",
        "memory_total": 2**33,
        "memory_free": 2**32,
        "major": 8,
        "minor": 9,
    }
    stats = (await runner.http.get("/hardware/stats")).json()
    assert stats["gpu_stats"]["0"]["utilization_compute"] == 11
    nothing = {"memory_total": None, "memory_free": None, "utilization_compute": None, "utilization_memory": None}
    assert stats["gpu_stats"]["1"] == {"id": "GPU-1", "name": None, **nothing}


async def test_a_runner_of_one_card_shows_that_one(served_runner: Served, cards: None) -> None:
    async with served_runner(gpu="GPU-1") as runner:
        assert list((await runner.http.get("/hardware/info")).json()["gpu_info"]) == ["1"]


async def test_a_driver_that_does_not_answer_is_not_the_same_as_no_card(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable() -> tuple[Gpu, ...]:
        raise GpusUnreadable(cause="driver mismatch")

    monkeypatch.setattr("millpond_runner.routes.hardware.read_gpus", unreadable)
    response = await runner.http.get("/hardware/info")
    assert (response.status_code, response.json()["detail"]["reason"]) == (500, "gpus-unreadable")


@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer wrong", "Basic a-secret", "a-secret", "Bearer \xe4-secret"]
)
async def test_a_missing_or_wrong_token_changes_nothing(
    served_runner: Served, bunny: list[bytes], given: str | None
) -> None:
    right = {"Authorization": "Bearer a-secret"}
    headers = {} if given is None else {b"Authorization": given.encode("latin-1")}
    async with served_runner(token="a-secret") as runner:
        answer = await runner.http.post("/transcode", content=bunny[0], headers={**spec(), **right})
        assert '"done"' in answer.text
        runner.http.headers.update(headers)
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/transcode", {"content": bunny[0], "headers": spec(job="job-2")}),
            ("GET", "/outputs/job-1/small", {}),
            ("DELETE", "/outputs/job-1", {}),
        ]
        for method, path, more in asked:
            refused = await runner.http.request(method, path, **more)
            assert (refused.status_code, refused.json()["detail"]["reason"]) == (401, "unauthorized")
            assert runner.files() == ["small.ts"]
        for path in ("/health", "/version", "/capacity", "/hardware/info"):
            assert (await runner.http.get(path)).status_code == 200


async def test_the_token_opens_whatever_the_case_of_the_scheme(served_runner: Served, bunny: list[bytes]) -> None:
    async with served_runner(token="a-secret") as runner:
        headers = {**spec(), "Authorization": "bearer a-secret"}
        assert '"done"' in (await runner.http.post("/transcode", content=bunny[0], headers=headers)).text


WRONG: list[tuple[str, dict[str, Any], list[Any]]] = [
    ("no job", {"renditions": [SMALL]}, ["job"]),
    ("a path as job", {"job": "../x", "renditions": [SMALL]}, ["job"]),
    ("a number as job", {"job": 7, "renditions": [SMALL]}, ["job"]),
    ("no rendition", {"job": "a", "renditions": []}, ["renditions"]),
    ("nine renditions", {"job": "a", "renditions": [{**SMALL, "name": f"r{n}"} for n in range(9)]}, ["renditions"]),
    ("the same name twice", {"job": "a", "renditions": [SMALL, SMALL]}, ["renditions"]),
    ("an odd width", {"job": "a", "renditions": [{**SMALL, "width": 63}]}, ["renditions", 0, "width"]),
    ("a width that is text", {"job": "a", "renditions": [{**SMALL, "width": "64"}]}, ["renditions", 0, "width"]),
    ("a huge height", {"job": "a", "renditions": [{**SMALL, "height": 7_682}]}, ["renditions", 0, "height"]),
    ("a path as name", {"job": "a", "renditions": [{**SMALL, "name": "../x"}]}, ["renditions", 0, "name"]),
]


@pytest.mark.parametrize(("given", "place"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
async def test_a_wrong_spec_is_refused_by_the_name_of_its_field(
    runner: Runner, given: dict[str, Any], place: list[Any]
) -> None:
    response = await runner.http.post("/transcode", content=b"x", headers={"Millpond-Spec": json.dumps(given)})
    assert response.status_code == 422
    first = response.json()["detail"][0]
    assert first["loc"] == ["header", "Millpond-Spec", *place]
    assert set(first) == {"loc", "msg", "type"}
    assert not runner.files()


@pytest.mark.parametrize("headers", [{}, {"Millpond-Spec": "{"}, {"Millpond-Spec": "null"}])
async def test_a_spec_that_is_none_is_refused(runner: Runner, headers: dict[str, str]) -> None:
    response = await runner.http.post("/transcode", content=b"x", headers=headers)
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"][:2] == ["header", "Millpond-Spec"]


@pytest.mark.parametrize("path", ["/outputs/nothing/small", "/outputs/job-1/other", "/outputs/job-1/..%2f..%2finput"])
async def test_an_output_that_is_not_there_is_not_found(runner: Runner, bunny: list[bytes], path: str) -> None:
    await runner.transcode(bunny[0])
    response = await runner.http.get(path)
    assert response.status_code == 404
    assert response.json()["detail"]["reason"] in ("no-output", "no-such-route")


async def test_deleting_what_is_not_there_is_no_error(runner: Runner) -> None:
    assert (await runner.http.delete("/outputs/nothing")).status_code == 204


async def test_an_unknown_route_answers_in_the_same_shape(runner: Runner) -> None:
    assert (await runner.http.get("/nothing")).json()["detail"]["reason"] == "no-such-route"
    assert (await runner.http.get("/transcode")).json()["detail"]["reason"] == "method-not-allowed"
