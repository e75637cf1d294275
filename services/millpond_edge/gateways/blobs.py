"""``/blobs``: bytes in and out by their hash. Gateways with their key, devices with their signature, for their jobs."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from millpond.blobs import BlobMissing, HashDiffers
from millpond.blobs import BlobTooLarge as TooManyBytes
from millpond.workloads.blob import BLOB_BYTES_MAX
from millpond_edge.door import OpenDoor
from millpond_edge.gateways.blob_rights import may_get, may_put
from millpond_edge.gateways.bodies import BlobStored, ErrorShown
from millpond_edge.gateways.errors import BlobTooLarge, BodyBrokeOff, HashMismatch, NoSuchBlob

OCTETS = "application/octet-stream"
REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShown} for status in (400, 401, 403, 404, 413, 422, 429, 503)
}
BINARY = {"content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}}}
BlobHash = Annotated[
    str, Path(pattern=r"^0x[0-9a-f]{64}$", description="0x and the SHA-256 of the bytes, lower-case hex.")
]

router = APIRouter(prefix="/blobs", tags=["blobs"], responses=REFUSALS)


@router.put(
    "/{hash}",
    status_code=201,
    responses={200: {"model": BlobStored, "description": "It was there."}},
    openapi_extra={"requestBody": {"required": True, **BINARY}},
    dependencies=[Depends(may_put)],
)
async def put_blob(hash: BlobHash, request: Request, response: Response, door: OpenDoor) -> BlobStored:
    """Stores the body, if its SHA-256 is what the path says and it is no larger than a blob may be."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > BLOB_BYTES_MAX:
        raise BlobTooLarge(allowed=BLOB_BYTES_MAX)
    was_there = await door.blobs.exists(hash)
    try:
        size_bytes = await door.blobs.put(hash, request.stream(), size_bytes_max=BLOB_BYTES_MAX)
    except HashDiffers as differs:
        raise HashMismatch(hash=hash, found=differs.facts["found"]) from differs
    except TooManyBytes as too_many:
        raise BlobTooLarge(allowed=BLOB_BYTES_MAX) from too_many
    except ClientDisconnect as gone:
        # Nobody hears it; without it the log would call a broken connection a surprise.
        raise BodyBrokeOff from gone
    response.status_code = 200 if was_there else 201
    return BlobStored(hash=hash, size_bytes=size_bytes)


@router.get(
    "/{hash}",
    response_class=StreamingResponse,
    responses={200: {**BINARY, "description": "The bytes."}},
    dependencies=[Depends(may_get)],
)
async def get_blob(hash: BlobHash, door: OpenDoor) -> StreamingResponse:
    """The bytes: to a gateway that knows the hash, and so what it is; to a device that has a job with this input."""
    try:
        blob = await door.blobs.open(hash)
    except BlobMissing as missing:
        raise NoSuchBlob(hash=hash) from missing
    headers = {"content-length": str(blob.size_bytes), "etag": f'"{hash}"'}
    return StreamingResponse(blob.chunks, media_type=OCTETS, headers=headers)
