"""A job is asked for once, whoever repeats it; it is its gateway's alone; and 202 means that the log has it."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import pytest

from edge.pool import DeadPublisher, RunningEdge, running_edge
from millpond.events.gateway_jobs import JobCancelled, JobRequested, cancel_item, request_item
from millpond.events.ids import job_id
from millpond.events.topics import GATEWAY_JOBS
from millpond.stream.record import ITEM

SEGMENT = b"a segment of a video"
HASH = "0x" + hashlib.sha256(SEGMENT).hexdigest()
UNKNOWN_JOB = job_id("acme", "never asked")


def body(**changes: Any) -> dict[str, Any]:
    rendition = {"name": "360p", "width": 640, "height": 360, "bitrate_kbps": 800}
    spec = {"source": {"hash": HASH, "size_bytes": len(SEGMENT)}, "renditions": [rendition]}
    return {"id": "a", "workload": "transcode", "spec": spec, "deadline_s": 60, **changes}


async def gateway_with_segment(edge: RunningEdge, name: str = "acme") -> dict[str, str]:
    headers = await edge.gateway(name)
    await edge.http.put(f"/blobs/{HASH}", content=SEGMENT, headers=headers)
    return headers


async def test_a_job_is_on_the_log_with_our_stamp_when_it_is_answered(edge: RunningEdge) -> None:
    headers = await gateway_with_segment(edge)
    before_ms = int(time.time() * 1000)
    answer = await edge.http.post("/jobs", json=body(), headers=headers)
    (record,) = edge.log.records(GATEWAY_JOBS)
    event = JobRequested.model_validate_json(record.value or b"")
    assert (answer.status_code, answer.json()) == (202, {"job": job_id("acme", "a")})
    assert (event.gateway, event.request_id, event.job) == ("acme", "a", answer.json()["job"])
    assert record.key == event.job.encode()
    assert record.header(ITEM) == request_item(event).encode()
    assert before_ms <= record.timestamp_ms <= int(time.time() * 1000)
    job = (await edge.http.get(f"/jobs/{event.job}", headers=headers)).json()
    assert (job["state"], job["id"], job["attempts"], job["outputs"]) == ("requested", "a", 0, [])


async def test_the_same_again_is_the_same_job_and_another_body_is_refused(edge: RunningEdge) -> None:
    headers = await gateway_with_segment(edge)
    first = await edge.http.post("/jobs", json=body(), headers=headers)
    await edge.settled()
    assert (await edge.http.post("/jobs", json=body(), headers=headers)).json() == first.json()
    other = await edge.http.post("/jobs", json=body(deadline_s=61), headers=headers)
    assert (other.status_code, other.json()["error"]["reason"]) == (409, "request-differs")
    assert "deadline_s was 60 and is 61" in other.json()["error"]["sentence"]
    assert len(edge.log.records(GATEWAY_JOBS)) == 1


async def test_two_gateways_may_use_the_same_id_and_see_nothing_of_each_other(edge: RunningEdge) -> None:
    acme, other = await gateway_with_segment(edge), await gateway_with_segment(edge, "other")
    job = (await edge.http.post("/jobs", json=body(), headers=acme)).json()["job"]
    assert (await edge.http.post("/jobs", json=body(), headers=other)).json()["job"] != job
    for method in ("GET", "DELETE"):
        foreign = await edge.http.request(method, f"/jobs/{job}", headers=other)
        absent = await edge.http.request(method, f"/jobs/{UNKNOWN_JOB}", headers=other)
        assert foreign.status_code == absent.status_code == 404
        assert foreign.json()["error"]["sentence"].replace(job, UNKNOWN_JOB) == absent.json()["error"]["sentence"]
    assert len(edge.log.records(GATEWAY_JOBS)) == 2


async def test_a_cancellation_is_one_item_however_often_it_is_asked_for(edge: RunningEdge) -> None:
    headers = await gateway_with_segment(edge)
    job = (await edge.http.post("/jobs", json=body(), headers=headers)).json()["job"]
    for _ in range(2):
        assert (await edge.http.delete(f"/jobs/{job}", headers=headers)).status_code == 202
    first, second = (record for record in edge.log.records(GATEWAY_JOBS) if b"spec" not in (record.value or b""))
    assert first.header(ITEM) == cancel_item(JobCancelled(job=job, gateway="acme")).encode()
    assert (first.value, first.header(ITEM)) == (second.value, second.header(ITEM))


async def test_a_source_that_is_not_in_the_store_is_said_and_nothing_is_on_the_log(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    answer = await edge.http.post("/jobs", json=body(), headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (409, "source-missing")
    assert f"PUT /blobs/{HASH}" in answer.json()["error"]["sentence"]
    await edge.http.put(f"/blobs/{HASH}", content=SEGMENT, headers=headers)
    wrong = body()
    wrong["spec"]["source"]["size_bytes"] += 1
    answer = await edge.http.post("/jobs", json=wrong, headers=headers)
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "source-size-differs")
    assert edge.log.records(GATEWAY_JOBS) == []


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"id": "-"}, "body.id"),
        ({"id": "x" * 129}, "body.id"),
        ({"id": None}, "body.id"),
        ({"deadline_s": 0}, "body.deadline_s is 0"),
        ({"deadline_s": 86_401}, "body.deadline_s"),
        ({"deadline_s": "60"}, "body.deadline_s"),
        ({"workload": "mine"}, "body.workload"),
        ({"deadlines": 5}, "body.deadlines"),
        ({"spec": {"source": {"hash": HASH, "size_bytes": 3}, "renditions": []}}, "body.spec.renditions"),
        ({"spec": {"source": {"hash": "0xZZ", "size_bytes": 3}, "renditions": []}}, "body.spec.source.hash"),
    ],
)
async def test_a_wrong_field_is_named_with_its_value(edge: RunningEdge, changes: dict[str, Any], named: str) -> None:
    headers = await gateway_with_segment(edge)
    answer = await edge.http.post("/jobs", json=body(**changes), headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (422, "invalid-field")
    assert named in error["sentence"]
    assert edge.log.records(GATEWAY_JOBS) == []


async def test_what_is_no_json_is_said_to_be_none(edge: RunningEdge) -> None:
    headers = await gateway_with_segment(edge)
    for content in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        answer = await edge.http.post("/jobs", content=content, headers=headers)
        assert (answer.status_code, bool(answer.json()["error"]["sentence"])) == (422, True), content[:10]


async def test_without_kafkas_word_nothing_is_acknowledged(tmp_path: Path) -> None:
    async with running_edge(tmp_path, publisher=DeadPublisher(), patience_s=0.2) as edge:
        headers = await gateway_with_segment(edge)
        answer = await edge.http.post("/jobs", json=body(), headers=headers)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "not-acknowledged")
        assert answer.headers["retry-after"] == "1"
        assert (await edge.http.get(f"/jobs/{job_id('acme', 'a')}", headers=headers)).status_code == 404
