"""A double for edge and the pool behind it: it speaks edge's HTTP API, transcodes with ffmpeg, and fails when told to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway_client.clips import transcode

API_KEY = "mpk_studio_" + "k" * 43
CONCURRENT_MAX = 2
EVENTS = {
    "accepted": "JobAccepted",
    "assigned": "JobAssigned",
    "finished": "JobFinished",
    "refused": "JobRefused",
    "given_up": "JobGivenUp",
}

Transcode = Callable[[bytes, list[dict[str, Any]], int], dict[str, bytes]]


@dataclass
class Faults:
    """What goes wrong, and how often; each is counted down as it happens."""

    answers_503: int = 0
    # The connection breaks in the middle of that many downloads, or after each event of that many event streams.
    broken_downloads: int = 0
    broken_streams: int = 0
    # Every event is sent twice, and a stream starts with everything that was before its cursor.
    events_repeated: bool = False
    # The stream answers but says nothing, as if its events were lost.
    stream_mute: bool = False
    # By the job's number: how it ends, and how many devices it is given to.
    ends: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    # Output blobs are served with a changed byte.
    outputs_changed: bool = False


class EdgeDouble:
    """State survives ``stop`` and ``start``, as edge's does on the topics."""

    def __init__(self, transcode: Transcode = transcode) -> None:
        self.faults = Faults()
        self.blobs: dict[str, bytes] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.posts: Counter[str] = Counter()
        self.cursors: list[str | None] = []
        self.in_flight_most = 0
        self._transcode = transcode
        self._journal: list[tuple[str, str]] = []
        self._news = asyncio.Condition()
        self._gpus = asyncio.Semaphore(CONCURRENT_MAX)
        self._work: set[asyncio.Task[None]] = set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def start(self) -> None:
        config = uvicorn.Config(
            self._app(), log_level="critical", lifespan="off", timeout_graceful_shutdown=0, access_log=False
        )
        self._server = uvicorn.Server(config)
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._socket.dup()]))
        while not self._server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """As a crash: open connections break."""
        assert self._server is not None
        assert self._serving is not None
        self._server.force_exit = self._server.should_exit = True
        await self._serving

    async def close(self) -> None:
        await self.stop()
        self._socket.close()
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)

    def _app(self) -> ASGIApp:
        app = FastAPI()
        app.put("/blobs/{digest}")(self._put_blob)
        app.get("/blobs/{digest}")(self._get_blob)
        app.post("/jobs")(self._post_job)
        app.get("/jobs/events")(self._events)
        app.get("/jobs/{job}")(self._get_job)

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            # Not FastAPI's own kind of middleware: that one would end a broken answer as if it were whole.
            request = Request(scope)
            if request.headers.get("authorization") != f"Bearer {API_KEY}":
                answer = _error(401, "key-unknown", "The API key is not known: ask the operator for one.")
                await answer(scope, receive, send)
            elif self.faults.answers_503 > 0:
                self.faults.answers_503 -= 1
                await Response("upstream connect error", status_code=503)(scope, receive, send)
            else:
                await app(scope, receive, send)

        return door

    async def _put_blob(self, digest: str, request: Request) -> Response:
        body = await request.body()
        if _hash(body) != digest:
            return _error(400, "hash-mismatch", f"The bytes have the hash {_hash(body)}, not {digest}.")
        was_there = digest in self.blobs
        self.blobs[digest] = body
        return JSONResponse({"hash": digest, "size_bytes": len(body)}, 200 if was_there else 201)

    async def _get_blob(self, digest: str) -> Response:
        body = self.blobs[digest]
        if self.faults.outputs_changed:
            body = bytes([body[0] ^ 1]) + body[1:]
        if self.faults.broken_downloads > 0:
            self.faults.broken_downloads -= 1
            return StreamingResponse(_broken(body), headers={"Content-Length": str(len(body))})
        return Response(body)

    async def _post_job(self, request: Request) -> Response:
        asked = await request.json()
        own = asked["id"]
        self.posts[own] += 1
        job = str(uuid.uuid5(uuid.NAMESPACE_URL, own))
        known = self.jobs.get(job)
        if known is None:
            if asked["spec"]["source"]["hash"] not in self.blobs:
                return _error(400, "blob-missing", "spec.source is not stored: PUT it first.")
            empty = {"attempts": 0, "reason": None, "sentence": None, "outputs": []}
            self.jobs[job] = {"job": job, "id": own, "state": "requested", **empty, "asked": asked}
            task = asyncio.create_task(self._run(job))
            self._work.add(task)
            task.add_done_callback(self._work.discard)
        elif known["asked"] != asked:
            return _error(409, "id-taken", f"id {own} is taken by another job: take a new one.")
        open_jobs = sum(each["state"] not in ("finished", "refused", "given_up") for each in self.jobs.values())
        self.in_flight_most = max(self.in_flight_most, open_jobs)
        return JSONResponse({"job": job}, 202)

    async def _get_job(self, job: str) -> Response:
        if job not in self.jobs:
            return _error(404, "job-unknown", f"There is no job {job}.")
        return JSONResponse(self._view(job))

    async def _events(self, request: Request, cursor: str | None = None) -> Response:
        self.cursors.append(cursor)
        return StreamingResponse(self._stream(cursor), media_type="text/event-stream")

    async def _stream(self, cursor: str | None) -> AsyncIterator[bytes]:
        breaks = self.faults.broken_streams > 0
        self.faults.broken_streams -= breaks
        place = 0 if cursor == "beginning" else int(cursor) if cursor else len(self._journal)
        place = 0 if self.faults.events_repeated else place
        yield b": alive\n\n"
        while True:
            async with self._news:
                await self._news.wait_for(lambda known=place: len(self._journal) > known)
            name, data = self._journal[place]
            place += 1
            if not self.faults.stream_mute:
                text = f"id: {place}\nevent: {name}\ndata: {data}\n\n".encode()
                yield text * (2 if self.faults.events_repeated else 1)
            if breaks:
                raise ConnectionResetError

    async def _run(self, job: str) -> None:
        known = self.jobs[job]
        number = int(known["id"].rpartition(".")[2])
        end = self.faults.ends.get(number, "finished")
        if end == "refused":
            await self._say(job, "refused", reason="gateway-unfunded", sentence="The gateway's balance is used up.")
            return
        await self._say(job, "accepted")
        async with self._gpus:
            for attempt in range(1, self.faults.attempts.get(number, 1) + 1):
                known["attempts"] = attempt
                await self._say(job, "assigned")
            if end == "given_up":
                await self._say(job, "given_up", reason="attempts-used-up", sentence="Three devices failed at it.")
                return
            spec = known["asked"]["spec"]
            made = await asyncio.to_thread(
                self._transcode, self.blobs[spec["source"]["hash"]], spec["renditions"], number
            )
        self.blobs |= {_hash(body): body for body in made.values()}
        known["outputs"] = [
            {"rendition": name, "blob": {"hash": _hash(body), "size_bytes": len(body)}} for name, body in made.items()
        ]
        await self._say(job, "finished")

    async def _say(self, job: str, state: str, **why: str) -> None:
        self.jobs[job] |= {"state": state, **why}
        self._journal.append((EVENTS[state], json.dumps(self._view(job))))
        async with self._news:
            self._news.notify_all()

    def _view(self, job: str) -> dict[str, Any]:
        return {key: value for key, value in self.jobs[job].items() if key != "asked"}


@asynccontextmanager
async def edge_double(transcode: Transcode = transcode) -> AsyncIterator[EdgeDouble]:
    edge = EdgeDouble(transcode)
    await edge.start()
    try:
        yield edge
    finally:
        await edge.close()


async def _broken(body: bytes) -> AsyncIterator[bytes]:
    yield body[: len(body) // 2]
    raise ConnectionResetError


def _hash(body: bytes) -> str:
    return f"0x{hashlib.sha256(body).hexdigest()}"


def _error(status: int, reason: str, sentence: str) -> Response:
    return JSONResponse({"error": {"reason": reason, "sentence": sentence}}, status)
