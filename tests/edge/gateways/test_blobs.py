"""Bytes in and out through the door, as long as they are what they are said to be."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from edge.pool import RunningEdge, device_authorization
from edge.work import accept, assign, close
from millpond.identity import DeviceKey
from millpond_edge.gateways import blob_rights
from millpond_edge.gateways import blobs as module

CONTENT = bytes(range(256)) * 30_000
DEVICE = DeviceKey(b"d" * 32)


@pytest.fixture(autouse=True)
def lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blob_rights, "LAG_S", 0.5)


def path_of(content: bytes) -> str:
    return f"/blobs/0x{hashlib.sha256(content).hexdigest()}"


def files(edge: RunningEdge) -> list[Path]:
    return [path for path in edge.blob_directory.rglob("*") if path.is_file()]


def signed(method: str, path: str) -> dict[str, str]:
    return {"authorization": device_authorization(DEVICE, method, path)}


async def chunked(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 100_000):
        yield content[start : start + 100_000]


@pytest.mark.parametrize("whole", [True, False], ids=["with a length", "chunked"])
async def test_a_blob_goes_in_and_comes_out(edge: RunningEdge, whole: bool) -> None:
    headers, path = await edge.gateway(), path_of(CONTENT)
    statuses = []
    for _ in range(2):
        answer = await edge.http.put(path, content=CONTENT if whole else chunked(CONTENT), headers=headers)
        statuses.append(answer.status_code)
        assert answer.json() == {"hash": path.removeprefix("/blobs/"), "size_bytes": len(CONTENT)}
    assert statuses == [201, 200]
    got = await edge.http.get(path, headers=headers)
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, CONTENT, str(len(CONTENT)))


async def test_a_device_fetches_the_input_of_its_job_and_stores_outputs_while_its_attempt_is_open(
    edge: RunningEdge,
) -> None:
    edge.log.register(DEVICE.device)
    gateway, path, output = await edge.gateway(), path_of(CONTENT), path_of(b"output")
    await edge.http.put(path, content=CONTENT, headers=gateway)
    assigned = assign(edge.log, accept(edge.log), DEVICE.device, source=path.removeprefix("/blobs/"))
    await edge.settled()
    assert (await edge.http.put(output, content=b"output", headers=signed("PUT", output))).status_code == 201
    assert (await edge.http.get(path, headers=signed("GET", path))).content == CONTENT
    close(edge.log, assigned, lost=True)
    await edge.settled()
    refused = await edge.http.get(path, headers=signed("GET", path))
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "not-its-input")
    later = path_of(b"later")
    refused = await edge.http.put(later, content=b"later", headers=signed("PUT", later))
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "nothing-assigned")
    assert len(files(edge)) == 2


async def test_a_device_that_works_fetches_nothing_but_its_inputs(edge: RunningEdge) -> None:
    edge.log.register(DEVICE.device)
    gateway, path = await edge.gateway(), path_of(CONTENT)
    await edge.http.put(path, content=CONTENT, headers=gateway)
    assign(edge.log, accept(edge.log), DEVICE.device)
    await edge.settled()
    refused = await edge.http.get(path, headers=signed("GET", path))
    assert (refused.status_code, refused.json()["error"]["reason"]) == (403, "not-its-input")


async def test_an_edge_that_has_read_less_than_another_does_not_turn_a_device_away(edge: RunningEdge) -> None:
    edge.log.register(DEVICE.device)
    gateway, path = await edge.gateway(), path_of(CONTENT)
    await edge.http.put(path, content=CONTENT, headers=gateway)
    fetching = asyncio.create_task(edge.http.get(path, headers=signed("GET", path)))
    await asyncio.sleep(0.1)
    assign(edge.log, accept(edge.log), DEVICE.device, source=path.removeprefix("/blobs/"))
    assert (await fetching).content == CONTENT


async def test_other_bytes_than_the_path_says_leave_nothing(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    answer = await edge.http.put(path_of(b"other"), content=CONTENT, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["reason"]) == (400, "hash-mismatch")
    assert hashlib.sha256(CONTENT).hexdigest() in error["sentence"]
    assert files(edge) == []


@pytest.mark.parametrize("whole", [True, False], ids=["announced", "found out"])
async def test_what_is_too_large_leaves_nothing(
    edge: RunningEdge, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOB_BYTES_MAX", len(CONTENT) - 1)
    headers = await edge.gateway()
    content = CONTENT if whole else chunked(CONTENT)
    try:
        answer = await edge.http.put(path_of(CONTENT), content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]["reason"]) == (413, "too-large")
    except (httpx.WriteError, httpx.ReadError):
        assert whole  # edge closes the connection in the face of a body that it will not take
    assert files(edge) == []


async def test_an_upload_that_breaks_off_leaves_nothing_and_edge_goes_on(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    host, port = edge.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"PUT {path_of(CONTENT)} HTTP/1.1\r\nhost: x\r\nauthorization: {headers['authorization']}\r\n"
    writer.write(f"{head}content-length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:6_000_000])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await edge.http.get(path_of(CONTENT), headers=headers)).json()["error"]["reason"] == "no-such-blob"
    assert (await edge.http.put(path_of(CONTENT), content=CONTENT, headers=headers)).status_code == 201
    assert len(files(edge)) == 1


@pytest.mark.parametrize("name", ["0x00", "../../etc/passwd", "0x" + "AB" * 32, "0x" + "0" * 63 + "g"])
async def test_a_name_that_is_no_hash_is_refused(edge: RunningEdge, name: str) -> None:
    headers = await edge.gateway()
    answer = await edge.http.put(f"/blobs/{name.replace('/', '%2F')}", content=b"x", headers=headers)
    assert answer.status_code in (404, 422)
    assert answer.json()["error"]["sentence"]
    assert files(edge) == []
