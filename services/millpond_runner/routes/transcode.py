"""POST /transcode: a segment's bytes in, lines of JSON out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import StreamingResponse
from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from millpond_runner.command import PROGRESS_S
from millpond_runner.jobs import Job, Jobs
from millpond_runner.messages import SPEC_HEADER, Line, Progress, TranscodeRequest
from millpond_runner.workshop import AuthorizedWorkshop

MEDIA_TYPE: Final = "application/x-ndjson"
DESCRIBED: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
    "responses": {
        "200": {
            "description": "Lines of progress, then exactly one `done` or `failed`.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}}},
        }
    },
}

router = APIRouter()


class LinesResponse(StreamingResponse):
    """Progress until the job has ended, then its outcome. A caller who hangs up before he has that, gives the job up."""

    media_type = MEDIA_TYPE

    def __init__(self, job: Job, jobs: Jobs) -> None:
        # A job that was cancelled before it had its input: nobody waits for the rest.
        super().__init__(self._lines(), headers=None if job.received.done() else {"Connection": "close"})
        self._job = job
        self._jobs = jobs
        self._all_said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if not self._all_said:
                await self._jobs.discard(self._job)

    async def _lines(self) -> AsyncIterator[bytes]:
        began_s = asyncio.get_running_loop().time()
        # Asked for when it is sent: to a caller who reads slowly nothing piles up.
        while not (await asyncio.wait({self._job.task}, timeout=PROGRESS_S))[0]:
            seconds = round(asyncio.get_running_loop().time() - began_s, 3)
            yield _line(Progress(frames=self._job.frames, seconds=seconds))
        yield _line(self._job.task.result())
        self._all_said = True


def spec(
    header: Annotated[str, Header(alias=SPEC_HEADER, description="A TranscodeRequest in JSON.")],
) -> TranscodeRequest:
    """Raises ``RequestValidationError``, which names the field."""
    try:
        return TranscodeRequest.model_validate_json(header)
    except ValidationError as error:
        place = ("header", SPEC_HEADER)
        raise RequestValidationError([{**each, "loc": (*place, *each["loc"])} for each in error.errors()]) from error


@router.post("/transcode", response_class=StreamingResponse, openapi_extra=DESCRIBED)
async def transcode(
    workshop: AuthorizedWorkshop, request: Request, asked: Annotated[TranscodeRequest, Depends(spec)]
) -> LinesResponse:
    length = request.headers.get("content-length")
    source = (chunk async for chunk in request.stream() if chunk)
    job = await workshop.jobs.begin(asked, source, int(length) if length else None)
    return LinesResponse(job, workshop.jobs)


def _line(said: Line) -> bytes:
    return said.model_dump_json().encode() + b"\n"
