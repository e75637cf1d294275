"""Edge's HTTP API as a gateway sees it. What may pass (a lost connection, a restart, 5xx) is tried again for a while."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from millpond.errors import MillpondError
from millpond.stream.backoff import backoff_s
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import WORKLOAD, TranscodeSpec
from millpond_cli.gateway.sse import server_events

# How long edge may be away before it is given up: longer than any restart takes.
PATIENCE_S: Final = 120.0
RETRY_MAX_S: Final = 5.0
CONNECT_S: Final = 10.0
# Edge says that it is alive every 15 s.
SILENCE_S_MAX: Final = 45.0
CHUNK_BYTES: Final = 256 * 1_024
# Answers that say "later": the request is whole, and good.
LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
WORDS_MAX: Final = 300

Answer = TypeVar("Answer")
JobState = Literal["requested", "accepted", "assigned", "finished", "refused", "given_up"]
ENDED: Final[frozenset[JobState]] = frozenset({"finished", "refused", "given_up"})


class EdgeUrlInvalid(MillpondError):
    """{url!r} is no URL of a pool's edge: give --edge or MILLPOND_GATEWAY_EDGE_URL like https://pool.example."""


class EdgeAway(MillpondError):
    """{url} has not answered for {patience_s:g} s: {cause}. See whether the pool's edge runs and the URL is right; what was
    sent so far is kept."""


class EdgeRefused(MillpondError):
    """The pool's edge refuses {request} ({status}, {reason}): {sentence}"""


class BlobDamaged(MillpondError):
    """The bytes that edge gives for {hash} have another hash or size: {found}. Nothing of them is used; ask the pool."""


class _Passing(Exception):
    """Something that may be over when it is tried again."""


class Output(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    rendition: str
    blob: Blob


class Job(BaseModel):
    """What edge says about a job. ``id`` is the gateway's own; ``sentence`` says why it came to nothing."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: str
    id: str
    state: JobState
    attempts: int = 0
    reason: str | None = None
    sentence: str | None = None
    outputs: tuple[Output, ...] = ()


class _Posted(BaseModel):
    job: str


class EdgeClient:
    """One gateway at one edge. Every method raises ``EdgeAway`` or ``EdgeRefused``, and repeats nothing that would double."""

    def __init__(self, http: httpx.AsyncClient, *, patience_s: float = PATIENCE_S) -> None:
        self._http = http
        self.patience_s = patience_s

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, api_key: str, *, patience_s: float = PATIENCE_S) -> AsyncIterator[EdgeClient]:
        """Raises ``EdgeUrlInvalid``."""
        if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", url):
            raise EdgeUrlInvalid(url=url)
        headers = {"Authorization": f"Bearer {api_key}"}
        timeout = httpx.Timeout(SILENCE_S_MAX, connect=CONNECT_S)
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=timeout) as http:
            yield cls(http, patience_s=patience_s)

    @property
    def url(self) -> str:
        return str(self._http.base_url)

    async def put_blob(self, blob: Blob, path: Path) -> None:
        """Stores the file's bytes; without effect if edge has them."""
        headers = {"Content-Length": str(blob.size_bytes), "Content-Type": "application/octet-stream"}

        async def put() -> None:
            await self._answer(self._http.put(f"/blobs/{blob.hash}", content=_chunks(path), headers=headers))

        await self._patiently(put)

    async def get_blob(self, blob: Blob, path: Path) -> None:
        """Writes the blob to ``path``, which is there only once hash and size are right. Raises ``BlobDamaged``."""

        async def get() -> None:
            part = path.with_suffix(".incoming")
            async with self._http.stream("GET", f"/blobs/{blob.hash}") as response:
                await _refuse(response)
                found = await _written(response, part, blob.size_bytes)
            if found != (blob.hash, blob.size_bytes):
                raise BlobDamaged(hash=blob.hash, found=f"{found[0]}, {found[1]} bytes")
            part.replace(path)

        await self._patiently(get)

    async def post_job(self, request_id: str, spec: TranscodeSpec, deadline_s: int) -> str:
        """The pool's id of the job. Posted again under the same ``request_id``, it is the same job."""
        body = {
            "id": request_id,
            "workload": WORKLOAD,
            "spec": spec.model_dump(mode="json"),
            "deadline_s": deadline_s,
        }

        async def post() -> str:
            response = await self._answer(self._http.post("/jobs", json=body))
            return _read(_Posted, response.content).job

        return await self._patiently(post)

    async def get_job(self, job: str) -> Job:
        async def get() -> Job:
            return _read(Job, (await self._answer(self._http.get(f"/jobs/{job}"))).content)

        return await self._patiently(get)

    @asynccontextmanager
    async def follow(self, cursor: str | None) -> AsyncIterator[AsyncIterator[tuple[str, Job]]]:
        """One connection to this gateway's jobs: (cursor behind it, job). From now on if there's no ``cursor``.

        Entered once edge has answered, so that what is asked for afterwards can't be missed. Raises ``ConnectionLost``
        when it breaks, while entering or reading: the caller goes on from the last cursor.
        """
        parameters = {"cursor": cursor} if cursor else {}
        try:
            async with self._http.stream("GET", "/jobs/events", params=parameters) as response:
                await _refuse(response)
                yield (
                    (each.id, _read(Job, each.data.encode())) async for each in server_events(response.aiter_lines())
                )
        except (httpx.TransportError, httpx.StreamError, _Passing) as error:
            raise ConnectionLost(url=self.url, cause=_cause(error)) from error

    async def _answer(self, asked: Awaitable[httpx.Response]) -> httpx.Response:
        response = await asked
        await _refuse(response)
        return response

    async def _patiently(self, work: Callable[[], Awaitable[Answer]]) -> Answer:
        """Does ``work`` until it succeeds or is refused; gives up when edge has been away for longer than patience."""
        until = time.monotonic() + self.patience_s
        failures = 0
        while True:
            try:
                return await work()
            except (httpx.TransportError, _Passing) as error:
                wait_s = backoff_s(failures, longest_s=RETRY_MAX_S)
                if time.monotonic() + wait_s > until:
                    raise EdgeAway(url=self.url, patience_s=self.patience_s, cause=_cause(error)) from error
            failures += 1
            await asyncio.sleep(wait_s)


class ConnectionLost(MillpondError):
    """The connection to {url} broke: {cause}. It is made again."""


async def _refuse(response: httpx.Response) -> None:
    """Raises ``EdgeRefused`` for an answer that is final, ``_Passing`` for one that says "later"."""
    if response.is_success:
        return
    body = await response.aread()
    reason, sentence = _reason(response, body)
    if response.status_code in LATER:
        raise _Passing(f"{response.status_code}, {sentence}")
    request = f"{response.request.method} {response.request.url.path}"
    raise EdgeRefused(request=request, status=response.status_code, reason=reason, sentence=sentence)


def _reason(response: httpx.Response, body: bytes) -> tuple[str, str]:
    """Edge's own words; those of whatever answers in its place are only quoted."""

    class Error(BaseModel):
        reason: str
        sentence: str

    class Envelope(BaseModel):
        error: Error

    try:
        error = Envelope.model_validate_json(body).error
    except ValidationError:
        return "unknown", (body.decode(errors="replace").strip() or response.reason_phrase)[:WORDS_MAX]
    return error.reason, error.sentence


Read = TypeVar("Read", bound=BaseModel)


def _read(kind: type[Read], body: bytes) -> Read:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        # Something in between, or a half-written answer: asked again, it may be edge itself.
        raise _Passing(f"an answer that isn't edge's: {body[:WORDS_MAX]!r}") from error


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk


async def _written(response: httpx.Response, path: Path, size_bytes_max: int) -> tuple[str, int]:
    """Writes the body, no further than one chunk beyond what it should have, and gives hash and size."""
    digest, size_bytes = hashlib.sha256(), 0
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in response.aiter_bytes(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            await asyncio.to_thread(file.write, chunk)
            if size_bytes > size_bytes_max:
                break
    return f"0x{digest.hexdigest()}", size_bytes


def _cause(error: BaseException) -> str:
    return str(error) or type(error).__name__
