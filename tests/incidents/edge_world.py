"""A pool with everybody in it who may come to edge's door: those who may, and those who may no more."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from edge.joining.visitors import ALICE, MALLORY, Browser, Machine, address_of, browser, said, token_of
from edge.pool import RunningEdge, device_authorization, running_edge
from edge.work import accept, assign
from millpond.events.registry_gateways import GatewaySuspended
from millpond.events.registry_members import ContributorSuspended, DeviceRemoved
from millpond.events.topics import REGISTRY_GATEWAYS, REGISTRY_MEMBERS
from millpond.identity import DeviceKey
from millpond_edge.joining.sessions import COOKIE, token_hash
from millpond_edge.joining.store import JoiningStore

SOURCE = b"a segment of a video"
SOURCE_PATH = "/blobs/0x" + hashlib.sha256(SOURCE).hexdigest()
BARRED = "0x" + "ba" * 20
EXPIRED_CODE, EXPIRED_NONCE, EXPIRED_TEXT, EXPIRED_TOKEN = "BBBB-BBBB", "e" * 32, "I am there.", "expired"

WORKER, IDLE, REMOVED, OVERDUE, BARRED_DEVICE, NEWCOMER = (DeviceKey(bytes([n]) * 32) for n in range(1, 7))


@dataclass
class World:
    """``keys`` by what has become of them; ``job`` is acme's, and the worker's."""

    edge: RunningEdge
    keys: dict[str, str]
    job: str
    alice: Browser
    mallory: Browser
    code: str
    offered: dict[str, str]
    used_nonce: str
    signed_out: str
    # For programs: a text to be signed, and the token of one of mallory's.
    offered_too: dict[str, str]
    token: str

    def bearer(self, whose: str) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[whose]}"}

    def cookie(self, whose: Browser) -> dict[str, str]:
        """The session that this browser has, and where it says that it is."""
        return {"cookie": f"{COOKIE}={whose.http.cookies[COOKIE]}", "origin": self.edge.url}

    @staticmethod
    def signed(key: DeviceKey, method: str, path: str, **options: Any) -> str:
        return device_authorization(key, method, path, **options)


@asynccontextmanager
async def world(directory: Path, tables: asyncpg.Pool) -> AsyncIterator[World]:
    async with running_edge(directory / "blobs", database=tables) as edge:
        keys = {name: edge.log.admit_gateway(name) for name in ("acme", "rival", "barred", "renewed")}
        keys["late"] = edge.log.admit_gateway("late", expires_in_s=-1)
        edge.log.admit_gateway("renewed")
        barred = GatewaySuspended(gateway="barred", reason="by-operator", sentence="It does not pay.")
        edge.log.say(REGISTRY_GATEWAYS, "barred", barred)
        alice = address_of(ALICE)
        for key in (WORKER, IDLE, REMOVED):
            edge.log.register(key.device, contributor=alice)
        edge.log.register(OVERDUE.device, contributor=alice, expires_in_s=-1)
        removed = DeviceRemoved(contributor=alice, device=REMOVED.device, reason="revoked", sentence="Revoked.")
        edge.log.say(REGISTRY_MEMBERS, alice, removed)
        edge.log.register(BARRED_DEVICE.device, contributor=BARRED)
        suspended = ContributorSuspended(contributor=BARRED, reason="by-operator", sentence="For looking twice.")
        edge.log.say(REGISTRY_MEMBERS, BARRED, suspended)
        await edge.settled()
        headers = {"authorization": f"Bearer {keys['acme']}"}
        await edge.http.put(SOURCE_PATH, content=SOURCE, headers=headers)
        job = accept(edge.log, source=SOURCE_PATH.removeprefix("/blobs/"))
        assign(edge.log, job, WORKER.device, source=SOURCE_PATH.removeprefix("/blobs/"))
        await edge.settled()
        await _let_expire(JoiningStore(tables), alice)
        async with browser(edge, ALICE) as his, browser(edge, MALLORY) as hers:
            used = await his.offered()
            body = {"nonce": used["nonce"], "signature": said(used["text"])}
            assert (await his.http.post("/wallet/sessions", json=body)).status_code == 201
            await hers.sign_in()
            signed_out = his.http.cookies[COOKIE]
            await his.http.delete("/wallet/sessions")
            await his.sign_in()
            yield World(
                edge,
                keys,
                job,
                his,
                hers,
                code=await Machine(edge, NEWCOMER).enrol(),
                offered=await his.offered(),
                used_nonce=used["nonce"],
                signed_out=signed_out,
                offered_too=await his.offered(),
                token=await token_of(edge, MALLORY),
            )


async def _let_expire(store: JoiningStore, contributor: str) -> None:
    """A code, a text to be signed and a session that are over since a second."""
    now_ms = int(time.time() * 1000)
    before, over = {"now_ms": now_ms - 5_000}, {"expires_at_ms": now_ms - 1_000}
    await store.enrol(OVERDUE.device, EXPIRED_CODE, **over, **before)
    await store.offer(EXPIRED_NONCE, contributor=contributor, text=EXPIRED_TEXT, **over, **before)
    nonce = "f" * 32
    await store.offer(nonce, contributor=contributor, text=EXPIRED_TEXT, **over, **before)
    assert await store.sign_in(nonce, signature="0x", token_hash=token_hash(EXPIRED_TOKEN), **over, **before)
