"""The client, against an edge that fails."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from gateway_client.edge_double import API_KEY, EdgeDouble
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec
from millpond_cli.gateway.client import BlobDamaged, ConnectionLost, EdgeAway, EdgeClient, EdgeRefused, EdgeUrlInvalid
from millpond_cli.gateway.cut import blob_of

CONTENT = b"what a GPU made " * 40_000
SMALL = Rendition(name="64p", width=114, height=64, bitrate_kbps=100)


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "content"
    path.write_bytes(CONTENT)
    return path


@asynccontextmanager
async def answering(answer: Callable[[httpx.Request], httpx.Response]) -> AsyncIterator[EdgeClient]:
    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport, base_url="http://edge.test") as http:
        yield EdgeClient(http, patience_s=0.5)


async def test_a_blob_comes_back_as_it_went(client: EdgeClient, content: Path, tmp_path: Path) -> None:
    blob = blob_of(content)
    assert blob == Blob(hash=f"0x{hashlib.sha256(CONTENT).hexdigest()}", size_bytes=len(CONTENT))
    await client.put_blob(blob, content)
    await client.put_blob(blob, content)
    await client.get_blob(blob, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == CONTENT


async def test_what_breaks_off_is_asked_for_again(
    edge: EdgeDouble, client: EdgeClient, content: Path, tmp_path: Path
) -> None:
    blob = blob_of(content)
    edge.faults.answers_503 = 2
    await client.put_blob(blob, content)
    edge.faults.broken_downloads = 2
    await client.get_blob(blob, tmp_path / "back")
    assert (edge.faults.answers_503, edge.faults.broken_downloads) == (0, 0)
    assert (tmp_path / "back").read_bytes() == CONTENT


async def test_bytes_with_another_hash_are_never_used(
    edge: EdgeDouble, client: EdgeClient, content: Path, tmp_path: Path
) -> None:
    blob = blob_of(content)
    await client.put_blob(blob, content)
    edge.faults.outputs_changed = True
    with pytest.raises(BlobDamaged, match=blob.hash):
        await client.get_blob(blob, tmp_path / "back")
    assert not (tmp_path / "back").exists()


async def test_more_bytes_than_were_promised_are_not_taken(tmp_path: Path) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield bytes(100_000)

    async with answering(lambda _: httpx.Response(200, content=endless())) as client:
        with pytest.raises(BlobDamaged):
            await client.get_blob(Blob(hash=f"0x{'0' * 64}", size_bytes=10), tmp_path / "back")
    assert sent < 20


async def test_a_job_posted_twice_is_one_job(edge: EdgeDouble, client: EdgeClient, content: Path) -> None:
    blob = blob_of(content)
    await client.put_blob(blob, content)
    spec = TranscodeSpec(source=blob, renditions=(SMALL,))
    edge.faults.ends[0] = "refused"
    first = await client.post_job("send.00000", spec, 60)
    assert await client.post_job("send.00000", spec, 60) == first
    assert (await client.get_job(first)).id == "send.00000"
    assert len(edge.jobs) == 1


async def test_a_refusal_is_edges_own_sentence_and_not_tried_again(edge: EdgeDouble, client: EdgeClient) -> None:
    spec = TranscodeSpec(source=Blob(hash=f"0x{'1' * 64}", size_bytes=1), renditions=(SMALL,))
    with pytest.raises(EdgeRefused, match="PUT it first") as raised:
        await client.post_job("send.00000", spec, 60)
    assert raised.value.facts["reason"] == "blob-missing"
    assert edge.posts["send.00000"] == 1


async def test_a_wrong_key_is_refused_at_once(edge: EdgeDouble) -> None:
    async with EdgeClient.open(edge.url, API_KEY.replace("k", "x")) as client:
        with pytest.raises(EdgeRefused, match="not known"):
            await client.get_job("any")


async def test_an_edge_that_stays_away_is_given_up_with_the_cause() -> None:
    asked = 0

    def away(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        raise httpx.ConnectError("connection refused", request=request)

    async with answering(away) as client:
        with pytest.raises(EdgeAway, match="connection refused"):
            await client.get_job("any")
    assert asked > 1


@pytest.mark.parametrize("body", [b"", b"<html>Welcome to the hotel's network</html>", b'{"job": 1}', b"[]"])
async def test_an_answer_that_is_not_edges_is_not_believed(body: bytes) -> None:
    async with answering(lambda _: httpx.Response(200, content=body)) as client:
        with pytest.raises(EdgeAway, match="isn't edge's"):
            await client.get_job("any")


async def test_an_error_that_is_not_edges_is_quoted() -> None:
    async with answering(lambda _: httpx.Response(418, content=b"I'm a teapot")) as client:
        with pytest.raises(EdgeRefused, match="I'm a teapot"):
            await client.get_job("any")


async def test_a_broken_stream_of_events_is_told_as_such(edge: EdgeDouble, client: EdgeClient, content: Path) -> None:
    blob = blob_of(content)
    await client.put_blob(blob, content)
    edge.faults.ends[0] = "refused"
    edge.faults.broken_streams = 1
    await client.post_job("send.00000", TranscodeSpec(source=blob, renditions=(SMALL,)), 60)
    heard = []
    with pytest.raises(ConnectionLost):
        async with client.follow("beginning") as events:
            heard = [(cursor, job.state) async for cursor, job in events]
    assert heard in ([], [("1", "refused")])


@pytest.mark.parametrize("url", ["", "pool.example", "ftp://pool.example", "http://", "http://a b"])
async def test_what_is_no_url_is_said_before_anything_is_sent(url: str) -> None:
    with pytest.raises(EdgeUrlInvalid, match="--edge"):
        async with EdgeClient.open(url, API_KEY):
            pass
