"""A runner over HTTP: any service with the container endpoints and ``/transcode`` will do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Final, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from millpond.events.device_claims import Count, Slots
from millpond.events.fields import Hash32
from millpond.events.ids import Reason
from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond.workloads.transcode import Rendition
from millpond_agent.errors import RunnerLost, RunnerRefused

CHUNK_BYTES: Final = 256 * 1024
CONNECT_S: Final = 5.0
ASK_S: Final = 5.0
# A runner says something twice a second; after this long it is not slow, but stuck.
SILENCE_S_MAX: Final = 60.0
LINE_BYTES_MAX: Final = 64 * 1024
QUOTED_CHARACTERS_MAX: Final = 1_000


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Progress(_Said):
    """``frames`` of the source are encoded, of ``expected_frames`` if the runner knows."""

    type: Literal["progress"]
    frames: Count
    expected_frames: Count | None = None


class RenditionDone(_Said):
    name: str
    hash: Hash32
    size_bytes: Annotated[int, Field(strict=True, ge=0, le=BLOB_BYTES_MAX)]
    frames: Count
    pixels: Count


class Done(_Said):
    """``renditions`` in the order of the request."""

    type: Literal["done"]
    renditions: tuple[RenditionDone, ...]


class Failed(_Said):
    type: Literal["failed"]
    reason: Reason
    sentence: Annotated[str, StringConstraints(max_length=2_000)]


class Capacity(_Said):
    encoder: str
    slots: Annotated[int, Field(ge=1, le=256)]
    running: Slots = 0


class Card(_Said):
    """One entry of ``/hardware/info`` and ``/hardware/stats``; what isn't known is None or absent."""

    id: str
    name: str | None = None
    memory_total: int | None = None
    memory_free: int | None = None
    utilization_compute: int | None = None


class _Detail(_Said):
    msg: str
    reason: Reason


class _Refusal(_Said):
    detail: _Detail


Line = Progress | Done | Failed
LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="type")])
CARDS: Final[TypeAdapter[dict[str, Card]]] = TypeAdapter(dict[str, Card])


class RunnerClient:
    """Raises ``RunnerRefused`` when the runner says no, ``RunnerLost`` when it doesn't answer, or nonsense."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self._http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(SILENCE_S_MAX, connect=CONNECT_S),
            limits=httpx.Limits(max_connections=None),
            # It is on this machine or beside it: a proxy for the internet doesn't know it.
            trust_env=False,
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def is_well(self) -> bool:
        """Whether it can do work, as go-livepeer reads it: anything but ERROR."""
        try:
            status = (await self._ask("GET", "/health")).json().get("status")
        except (RunnerLost, RunnerRefused, ValueError, AttributeError):
            return False
        return bool(status != "ERROR")

    async def capacity(self) -> Capacity | None:
        """None: it doesn't tell, as containers of others."""
        try:
            return Capacity.model_validate_json((await self._ask("GET", "/capacity")).content)
        except (RunnerRefused, ValidationError):
            return None

    async def cards(self, what: Literal["info", "stats"]) -> dict[str, Card]:
        """By index; empty where there are no GPUs, or the runner doesn't tell."""
        try:
            answer = (await self._ask("GET", f"/hardware/{what}")).json()
            return CARDS.validate_python(answer.get(f"gpu_{what}") or {})
        except (RunnerRefused, ValueError, AttributeError):
            return {}

    async def transcode(self, job: str, renditions: Sequence[Rendition], path: Path) -> AsyncGenerator[Line, None]:
        """Sends the segment and yields what the runner says, a ``Done`` or ``Failed`` last."""
        spec = {"job": job, "renditions": [rendition.model_dump() for rendition in renditions]}
        size_bytes = (await asyncio.to_thread(path.stat)).st_size
        headers = {
            "Millpond-Spec": json.dumps(spec, separators=(",", ":")),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(size_bytes),
        }
        try:
            async with self._http.stream("POST", "/transcode", content=_chunks(path), headers=headers) as response:
                await _refuse(response)
                async with aclosing(_lines(response)) as lines:
                    async for line in lines:
                        said = LINE.validate_json(line)
                        yield said
                        if not isinstance(said, Progress):
                            return
        except (httpx.TransportError, httpx.StreamError) as error:
            raise RunnerLost(cause=str(error) or type(error).__name__) from error
        except ValidationError as error:
            raise RunnerLost(cause=f"it says what isn't understood: {error.errors()[0]['msg']}") from error
        raise RunnerLost(cause="it hung up before the job was done")

    async def output(self, job: str, rendition: str) -> AsyncGenerator[bytes, None]:
        """The bytes of one output."""
        try:
            async with self._http.stream("GET", f"/outputs/{job}/{rendition}") as response:
                await _refuse(response)
                async for chunk in response.aiter_bytes(CHUNK_BYTES):
                    yield chunk
        except (httpx.TransportError, httpx.StreamError) as error:
            raise RunnerLost(cause=str(error) or type(error).__name__) from error

    async def delete(self, job: str) -> None:
        """Cancels the job if it runs, and frees its files."""
        await self._ask("DELETE", f"/outputs/{job}")

    async def _ask(self, method: str, path: str) -> httpx.Response:
        try:
            response = await self._http.request(method, path, timeout=ASK_S)
        except httpx.TransportError as error:
            raise RunnerLost(cause=str(error) or type(error).__name__) from error
        await _refuse(response)
        return response


async def _refuse(response: httpx.Response) -> None:
    if response.is_success:
        return
    body = await response.aread()
    try:
        detail = _Refusal.model_validate_json(body).detail
    except ValidationError:
        # A list of fields (422), or somebody else's way to say no.
        detail = _Detail(msg=body.decode(errors="replace"), reason="runner-refused")
    sentence = detail.msg[:QUOTED_CHARACTERS_MAX]
    raise RunnerRefused(status=response.status_code, reason=detail.reason, sentence=sentence)


async def _lines(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for chunk in response.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LINE_BYTES_MAX:
            raise RunnerLost(cause=f"a line is longer than {LINE_BYTES_MAX} bytes")
        for line in lines:
            if line:
                yield line


async def _chunks(path: Path) -> AsyncGenerator[bytes, None]:
    with await asyncio.to_thread(path.open, "rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
