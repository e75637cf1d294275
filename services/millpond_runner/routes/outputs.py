"""The finished files: fetched, then deleted."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from millpond_runner.workshop import AuthorizedWorkshop

MEDIA_TYPE: Final = "video/mp2t"

router = APIRouter(prefix="/outputs")


@router.get("/{job}/{rendition}", response_class=FileResponse)
async def output(job: str, rendition: str, workshop: AuthorizedWorkshop) -> FileResponse:
    return FileResponse(workshop.jobs.output(job, rendition), media_type=MEDIA_TYPE)


@router.delete("/{job}", status_code=204, response_class=Response)
async def delete(job: str, workshop: AuthorizedWorkshop) -> Response:
    """Cancels the job if it runs, and frees its files."""
    found = workshop.jobs.find(job)
    if found is not None:
        await workshop.jobs.discard(found)
    return Response(status_code=204)
