"""An edge that speaks the public protocol, checks what it gets, and can drop, delay, refuse and repeat."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from millpond.events.agent_claims import Heartbeat, JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.fields import to_rfc3339
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import JobAssigned
from millpond.identity import verify_device

POOL = "test-pool"
CHAIN_ID = 31337
RECEIPT_KEY = "0x" + "55" * 32
CLAIMS = {kind.type_name: kind for kind in (Heartbeat, JobStarted, JobProgress, JobSucceeded, JobFailed)}
PATIENCE_S = 15.0


@dataclass
class Heard:
    """A claim that arrived; ``repeat``: under a number that had arrived before."""

    type: str
    payload: str
    repeat: bool

    @property
    def claim(self) -> Any:
        return CLAIMS[self.type].claim_type.model_validate_json(self.payload)


@dataclass
class FakeEdge:
    pool: str = POOL
    blobs: dict[str, bytes] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    # What must never happen: wrong signatures, other bytes under a known number, a text that isn't canonical.
    faults: list[str] = field(default_factory=list)
    greetings: list[str] = field(default_factory=list)
    open: dict[str, JobAssigned] = field(default_factory=dict)
    standing: dict[str, Any] = field(default_factory=lambda: {"state": "unknown"})
    delegations: list[dict[str, Any]] = field(default_factory=list)
    enrolled: dict[str, Any] = field(default_factory=lambda: {"state": "waiting"})
    turn_away: tuple[str, str] | None = None
    # By claim type: hangs up in place of acknowledging so many times; refuses for a reason; says nothing.
    hang_up_on: dict[str, int] = field(default_factory=dict)
    refuse: dict[str, str] = field(default_factory=dict)
    is_silent: bool = False
    # So many requests for blobs get a 503.
    blob_failures: int = 0
    # So that nothing more is stored.
    is_full: bool = False
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self._bytes: dict[tuple[str, int], str] = {}
        self._sockets: list[WebSocket] = []
        self.app = Starlette(
            routes=[
                Route("/pool", self._pool),
                Route("/devices/{device}", self._device),
                Route("/enrolments", self._enrol, methods=["POST"]),
                Route("/enrolments/{code}", self._enrolled),
                Route("/delegations", self._delegate, methods=["POST"]),
                Route("/blobs/{hash}", self._blob, methods=["GET", "PUT"]),
                WebSocketRoute("/agents", self._agent),
            ]
        )

    def put(self, content: bytes) -> bytes:
        self.blobs["0x" + hashlib.sha256(content).hexdigest()] = content
        return content

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    async def assign(self, assigned: JobAssigned) -> None:
        self.open[assigned.lease] = assigned
        await self.say({"type": "Assignment", **assigned.model_dump(mode="json")})

    async def cancel(self, assigned: JobAssigned) -> None:
        self.open.pop(assigned.lease, None)
        await self.say({"type": "Cancel", "job": assigned.job, "attempt": assigned.attempt, "reason": "deadline"})

    async def receipt(self, line: UsageRecorded | UsageHeld) -> None:
        event = line.model_dump(mode="json")
        await self.say({"type": "Receipt", "receipt": {"type": line.type_name, "event": event}})

    async def say(self, message: dict[str, Any]) -> None:
        for socket in self._sockets:
            await socket.send_text(json.dumps(message))

    async def hang_up(self) -> None:
        for socket in list(self._sockets):
            await socket.close(1012)

    def of_type(self, *types: str) -> list[Heard]:
        return [heard for heard in self.heard if heard.type in types]

    async def until(self, condition: Callable[[], Any]) -> Any:
        """What ``condition`` gives once that is true."""
        until = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            assert not self.faults, self.faults
            assert time.monotonic() < until, f"it did not happen; heard {[(h.type, h.repeat) for h in self.heard]}"
            await asyncio.sleep(0.02)
        return found

    async def _agent(self, socket: WebSocket) -> None:
        await socket.accept()
        nonce = "0x" + secrets.token_hex(32)
        await socket.send_json({"type": "Challenge", "nonce": nonce})
        try:
            hello = await socket.receive_json()
            await self._greeted(socket, nonce, hello)
        except (WebSocketDisconnect, RuntimeError):
            pass  # it hung up, or we did
        finally:
            if socket in self._sockets:
                self._sockets.remove(socket)

    async def _greeted(self, socket: WebSocket, nonce: str, hello: Any) -> None:
        text = f"{nonce} {hello['session']}"
        self._verify("Hello", text, hello["device"], hello["signature"])
        self.greetings.append(hello["session"])
        if self.turn_away:
            reason, sentence = self.turn_away
            await socket.send_json({"type": "Refused", "sequence": None, "reason": reason, "sentence": sentence})
            await socket.close(4401)
            return
        assignments = [assigned.model_dump(mode="json") for assigned in self.open.values()]
        welcome = {"type": "Welcome", "last_accepted": 0, "time": to_rfc3339(self.now()), "assignments": assignments}
        await socket.send_json(welcome)
        self._sockets.append(socket)
        while True:
            await self._claim(socket, hello["device"], await socket.receive_json())

    async def _claim(self, socket: WebSocket, device: str, message: Any) -> None:
        type_, payload = message["type"], message["payload"]
        self._verify(type_, payload, device, message["signature"])
        if json.dumps(json.loads(payload), separators=(",", ":"), ensure_ascii=False) != payload:
            self.faults.append(f"not canonical: {payload}")
        claim = CLAIMS[type_].claim_type.model_validate_json(payload)
        number = (claim.session, claim.sequence)
        if self._bytes.setdefault(number, payload) != payload:
            self.faults.append(f"other bytes under {number}: {payload}")
        self.heard.append(Heard(type_, payload, repeat=any(each.payload == payload for each in self.heard)))
        if self.hang_up_on.get(type_, 0) > 0:
            self.hang_up_on[type_] -= 1
            await socket.close(1012)
        elif type_ in self.refuse:
            refusal = {"reason": self.refuse[type_], "sentence": "It may not."}
            await socket.send_json({"type": "Refused", "sequence": claim.sequence, **refusal})
        elif not self.is_silent:
            await socket.send_json({"type": "Accepted", "sequence": claim.sequence})

    async def _pool(self, _: Request) -> Response:
        pool = {"pool": self.pool, "chain_id": CHAIN_ID, "receipt_key": RECEIPT_KEY, "time": to_rfc3339(self.now())}
        return JSONResponse(pool)

    async def _device(self, request: Request) -> Response:
        self._authorized(request)
        return JSONResponse(self.standing)

    async def _enrol(self, request: Request) -> Response:
        body = await request.json()
        self._verify("Enrolment", body["device"], body["device"], body["signature"])
        expires_at = to_rfc3339(self.now() + timedelta(minutes=10))
        enrolment = {"code": "ABCD-EFGH", "link": "http://pool.test/join/ABCD-EFGH", "expires_at": expires_at}
        return JSONResponse(enrolment, 201)

    async def _enrolled(self, request: Request) -> Response:
        self._authorized(request)
        return JSONResponse(self.enrolled)

    async def _delegate(self, request: Request) -> Response:
        body = await request.json()
        self._verify("Consent", body["signer"], body["message"]["device"], body["consent"])
        self.delegations.append(body)
        if self.standing["state"] == "unknown":
            self.standing = {"state": "registered", "contributor": body["signer"]}
        return JSONResponse({}, 202)

    async def _blob(self, request: Request) -> Response:
        self._authorized(request)
        hash_ = request.path_params["hash"]
        if self.blob_failures > 0:
            self.blob_failures -= 1
            return JSONResponse({"error": {"reason": "away", "sentence": "Later."}}, 503)
        if request.method == "PUT":
            content = await request.body()
            if self.is_full:
                return JSONResponse({"error": {"reason": "too-large", "sentence": "It is too large."}}, 413)
            if "0x" + hashlib.sha256(content).hexdigest() != hash_:
                return JSONResponse({"error": {"reason": "hash-mismatch", "sentence": "Other bytes."}}, 400)
            self.blobs[hash_] = content
            return JSONResponse({"hash": hash_, "size_bytes": len(content)}, 201)
        if hash_ not in self.blobs:
            return JSONResponse({"error": {"reason": "blob-unknown", "sentence": "There is none."}}, 404)
        return Response(self.blobs[hash_])

    def _authorized(self, request: Request) -> None:
        found = re.fullmatch(r"Device (0x[0-9a-f]{64})\.([0-9]+)\.(0x[0-9a-f]{128})", request.headers["authorization"])
        assert found
        device, expires, signature = found.groups()
        now = self.now().timestamp()
        if not now < int(expires) <= now + 300:
            self.faults.append(f"a request expires {int(expires) - now:.0f} s from now")
        self._verify("BlobAccess", f"{request.method} {request.url.path} {expires}", device, signature)

    def _verify(self, kind: str, text: str, device: str, signature: str) -> None:
        if not verify_device(pool=self.pool, kind=kind, text=text, device=device, signature=signature):
            self.faults.append(f"wrong signature of {kind}: {text}")
