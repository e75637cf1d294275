"""Edge over HTTP, as a device sees it: the pool, its own state, enrolment, blobs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from millpond.events.fields import Address, Hash32, Instant
from millpond.identity import DeviceKey, SignedAction
from millpond.workloads.blob import Blob
from millpond_agent.errors import AttemptFailed, EdgeAway, EdgeRefused
from millpond_agent.rules import reconnect_s

CHUNK_BYTES: Final = 256 * 1024
SILENCE_S_MAX: Final = 30.0
CONNECT_S: Final = 5.0
# A request must arrive within this time of being signed; edge allows 300.
SIGNATURE_S: Final = 240
# A job waits for it: less than between two tries to connect.
RETRY_S_MAX: Final = 3.0
# Answers after which the same request may succeed.
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 507})
QUOTED_CHARACTERS_MAX: Final = 200


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Pool(_Answer):
    pool: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    chain_id: int
    receipt_key: Hash32
    time: Instant


class Device(_Answer):
    """What the registry says about this machine."""

    state: Literal["unknown", "waiting", "registered", "refused", "removed"]
    contributor: Address | None = None
    reason: str | None = None
    sentence: str | None = None


class Enrolment(_Answer):
    """``link`` is to be opened in the contributor's browser; ``code`` shows him that it is his machine."""

    code: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{4,32}$")]
    link: str
    expires_at: Instant


class Delegation(_Answer):
    """What the wallet signed (``SignedAction``)."""

    signer: Address
    action: Literal["DelegateDevice"]
    message: dict[str, Any]
    signature: str


class Enrolled(_Answer):
    state: Literal["waiting", "delegated", "expired"]
    contributor: Address | None = None
    delegation: Delegation | None = None


class _Error(_Answer):
    reason: str
    sentence: str


class _Refusal(_Answer):
    error: _Error


A = TypeVar("A", bound=_Answer)


class EdgeClient:
    """One per process. What it raises: ``EdgeRefused`` when edge said no, ``EdgeAway`` when nobody answered."""

    def __init__(self, url: str, key: DeviceKey, *, http: httpx.AsyncClient) -> None:
        self.url = url
        self._key = key
        self._http = http
        self._pool = ""
        # Edge's clock minus ours: it judges our signatures and deadlines, and ours may be wrong.
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        """On edge's clock."""
        return datetime.now(UTC) + self._ahead

    def clock_was(self, time: datetime) -> None:
        self._ahead = time - datetime.now(UTC)

    def signs_for(self, pool: str) -> None:
        """A signature counts for one pool only."""
        self._pool = pool

    async def pool(self) -> Pool:
        """What answers there; from now on requests are signed for it."""
        pool = await self._ask(Pool, "GET", "/pool")
        self.signs_for(pool.pool)
        self.clock_was(pool.time)
        return pool

    async def device(self) -> Device:
        path = f"/devices/{self._key.device}"
        return await self._ask(Device, "GET", path, headers=self._signed("GET", path))

    async def enrol(self) -> Enrolment:
        device = self._key.device
        signature = self._key.sign(pool=self._pool, kind="Enrolment", text=device)
        return await self._ask(Enrolment, "POST", "/enrolments", json={"device": device, "signature": signature})

    async def enrolled(self, code: str) -> Enrolled:
        path = f"/enrolments/{code}"
        return await self._ask(Enrolled, "GET", path, headers=self._signed("GET", path))

    async def delegate(self, delegation: SignedAction) -> None:
        """Hands in what the wallet signed, with this device's consent to work for it."""
        body = {
            "signer": delegation.signer,
            "action": delegation.action,
            "message": delegation.message,
            "signature": delegation.signature,
            "consent": self._key.sign(pool=self._pool, kind="Consent", text=delegation.signer),
        }
        await self._answered("POST", "/delegations", json=body)

    async def get_blob(self, blob: Blob, path: Path, moved: Callable[[], None]) -> None:
        """Writes the blob to ``path``; tries again for as long as it is let. ``moved`` is called as bytes arrive.

        Raises ``AttemptFailed`` if edge doesn't have it, or has other bytes.
        """

        async def get() -> None:
            location = f"/blobs/{blob.hash}"
            async with self._http.stream("GET", self.url + location, headers=self._signed("GET", location)) as response:
                await _refuse(response)
                await _write(response, blob, path, moved)

        await self._patiently(get, reason="download-failed")

    async def put_blob(
        self, blob: Blob, content: Callable[[], AsyncIterator[bytes]], moved: Callable[[], None]
    ) -> None:
        """Stores what ``content`` yields; tries again, from its beginning, for as long as it is let.

        Raises ``AttemptFailed`` if edge refuses it.
        """

        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in content():
                moved()
                yield chunk

        async def put() -> None:
            path = f"/blobs/{blob.hash}"
            headers = {
                "Content-Type": "application/octet-stream",
                "Content-Length": str(blob.size_bytes),
                **self._signed("PUT", path),
            }
            await _refuse(await self._http.put(self.url + path, content=chunks(), headers=headers))

        await self._patiently(put, reason="upload-failed")

    async def _patiently(self, work: Callable[[], Awaitable[None]], *, reason: str) -> None:
        failures = 0
        while True:
            try:
                return await work()
            except EdgeRefused as error:
                if error.facts["status"] not in PASSING:
                    raise AttemptFailed(reason=reason, sentence=str(error)) from error
            except httpx.TransportError:
                pass
            await asyncio.sleep(min(reconnect_s(failures, chance=0.5), RETRY_S_MAX))
            failures += 1

    async def _ask(self, kind: type[A], method: str, path: str, **request: Any) -> A:
        body = await self._answered(method, path, **request)
        try:
            return kind.model_validate_json(body)
        except ValidationError as error:
            # Not edge's own: a proxy's page, or another server.
            raise EdgeAway(url=self.url, cause=f"what answers there is no pool: {_quoted(body)}") from error

    async def _answered(self, method: str, path: str, **request: Any) -> bytes:
        try:
            response = await self._http.request(method, self.url + path, **request)
            await _refuse(response)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise EdgeAway(url=self.url, cause=str(error) or type(error).__name__) from error
        return response.content

    def _signed(self, method: str, path: str) -> dict[str, str]:
        """For one request of this device, for a few minutes."""
        expires = int(self.now().timestamp()) + SIGNATURE_S
        signature = self._key.sign(pool=self._pool, kind="BlobAccess", text=f"{method} {path} {expires}")
        return {"Authorization": f"Device {self._key.device}.{expires}.{signature}"}


@asynccontextmanager
async def edge_client(url: str, key: DeviceKey) -> AsyncIterator[EdgeClient]:
    timeout = httpx.Timeout(SILENCE_S_MAX, connect=CONNECT_S)
    async with httpx.AsyncClient(timeout=timeout, limits=httpx.Limits(max_connections=None)) as http:
        yield EdgeClient(url.rstrip("/"), key, http=http)


async def _refuse(response: httpx.Response) -> None:
    """Raises ``EdgeRefused`` with edge's own words, or the beginning of what stands there instead."""
    if response.is_success:
        return
    body = await response.aread()
    try:
        error = _Refusal.model_validate_json(body).error
    except ValidationError:
        error = _Error(reason="unknown", sentence=_quoted(body) or response.reason_phrase)
    request = f"{response.request.method} {response.request.url.path}"
    raise EdgeRefused(request=request, status=response.status_code, reason=error.reason, sentence=error.sentence)


async def _write(response: httpx.Response, blob: Blob, path: Path, moved: Callable[[], None]) -> None:
    digest, size_bytes = hashlib.sha256(), 0
    with await asyncio.to_thread(path.open, "wb") as file:
        async for chunk in response.aiter_bytes(CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            if size_bytes > blob.size_bytes:
                break
            await asyncio.to_thread(file.write, chunk)
            moved()
    if (found := "0x" + digest.hexdigest()) != blob.hash or size_bytes != blob.size_bytes:
        sentence = f"The input should be {blob.hash} with {blob.size_bytes} bytes, and {found} with {size_bytes} came."
        raise AttemptFailed(reason="download-failed", sentence=sentence)


def _quoted(body: bytes) -> str:
    return body.decode(errors="replace").strip()[:QUOTED_CHARACTERS_MAX]
