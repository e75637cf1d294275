"""The ways in for gateways: jobs, their events, blobs; and blobs for devices."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Final

from edge.pool import api_key
from incidents.edge_world import BARRED_DEVICE, IDLE, OVERDUE, REMOVED, SOURCE, SOURCE_PATH, WORKER, World
from incidents.refusals import Change, Refused, Request, Way
from millpond.identity import DeviceKey

OUTPUT: Final = b"a rendition of it"
OUTPUT_PATH: Final = "/blobs/0x" + hashlib.sha256(OUTPUT).hexdigest()


def _bearer(whose: str) -> Change:
    return lambda world, request: replace(request, headers={**request.headers, **world.bearer(whose)})


def _device(key: DeviceKey, **options: float) -> Change:
    return lambda world, request: request.authorized(world.signed(key, request.method, request.path, **options))


NOT_A_GATEWAY: Final[Refused] = {
    "none": lambda _, request: request.authorized(None),
    "none: an empty one": lambda _, request: request.authorized(""),
    "none: only a scheme": lambda _, request: request.authorized("Bearer"),
    "wrong: a guess": lambda _, request: request.authorized(f"Bearer {api_key('acme')}"),
    "wrong: the key that was replaced": _bearer("renewed"),
    "wrong: no such gateway": lambda _, request: request.authorized(f"Bearer {api_key('nobody')}"),
    "wrong: as Basic": lambda world, request: request.authorized(f"Basic {world.keys['acme']}"),
    "wrong: in the address": lambda world, request: replace(
        request.authorized(None), path=f"{request.path}?authorization=Bearer%20{world.keys['acme']}"
    ),
    "expired": _bearer("late"),
    "revoked": _bearer("barred"),
    "foreign: a working device": _device(WORKER),
}
NOT_ITS_GATEWAY: Final[Refused] = {**NOT_A_GATEWAY, "foreign: another gateway": _bearer("rival")}

NOT_A_WORKER: Final[Refused] = {
    "none": lambda _, request: request.authorized(None),
    "wrong: signed by another": lambda world, request: request.authorized(
        world.signed(IDLE, request.method, request.path).replace(IDLE.device, WORKER.device)
    ),
    "wrong: for another method": lambda world, request: request.authorized(world.signed(WORKER, "POST", request.path)),
    "wrong: for another path": lambda world, request: request.authorized(
        world.signed(WORKER, request.method, OUTPUT_PATH if request.method == "GET" else SOURCE_PATH)
    ),
    "wrong: valid for too long": _device(WORKER, ahead_s=301),
    "expired: the signature": _device(WORKER, ahead_s=-1),
    "expired: the delegation": _device(OVERDUE),
    "revoked: the device": _device(REMOVED),
    "revoked: its contributor": _device(BARRED_DEVICE),
    "foreign: a device without that job": _device(IDLE),
    "foreign: nobody's device": _device(DeviceKey(b"x" * 32)),
}


async def _post_job(world: World) -> Request:
    rendition = {"name": "360p", "width": 640, "height": 360, "bitrate_kbps": 800}
    source = {"hash": SOURCE_PATH.removeprefix("/blobs/"), "size_bytes": len(SOURCE)}
    body = {"id": "new", "workload": "transcode", "spec": {"source": source, "renditions": [rendition]}}
    return Request("POST", "/jobs", world.bearer("acme"), json=body)


async def _get_job(world: World) -> Request:
    return Request("GET", f"/jobs/{world.job}", world.bearer("acme"))


async def _delete_job(world: World) -> Request:
    return Request("DELETE", f"/jobs/{world.job}", world.bearer("acme"))


async def _follow(world: World) -> Request:
    return Request("GET", "/jobs/events", world.bearer("acme"))


async def _put(world: World) -> Request:
    return Request("PUT", OUTPUT_PATH, world.bearer("acme"), content=OUTPUT)


async def _get(world: World) -> Request:
    return Request("GET", SOURCE_PATH, world.bearer("acme"))


async def _put_as_device(world: World) -> Request:
    return (await _put(world)).authorized(world.signed(WORKER, "PUT", OUTPUT_PATH))


async def _get_as_device(world: World) -> Request:
    return (await _get(world)).authorized(world.signed(WORKER, "GET", SOURCE_PATH))


# A device's credential is one here, too: as such it has a table of its own.
NEITHER: Final[Refused] = {name: make for name, make in NOT_A_GATEWAY.items() if "device" not in name}
BY_HASH: Final = {"foreign": "who knows a blob's hash knows what it is"}

WAYS: Final = (
    Way("POST /jobs", _post_job, NOT_A_GATEWAY),
    Way("GET /jobs/{job}", _get_job, NOT_ITS_GATEWAY),
    Way("GET /jobs/events", _follow, NOT_A_GATEWAY),
    Way("PUT /blobs/{hash}", _put, NEITHER, absent=BY_HASH),
    Way("GET /blobs/{hash}", _get, NEITHER, absent=BY_HASH),
    Way("PUT /blobs/{hash}", _put_as_device, NOT_A_WORKER),
    Way("GET /blobs/{hash}", _get_as_device, NOT_A_WORKER),
    Way("DELETE /jobs/{job}", _delete_job, NOT_ITS_GATEWAY),
)
