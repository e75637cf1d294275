"""A device as it speaks on ``/agents``: signs what it is told to say, also what no honest one would."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from edge.pool import POOL, WITHIN_S
from millpond.events.fields import to_rfc3339
from millpond.events.ids import job_id, lease_id
from millpond.identity import DeviceKey

Message = dict[str, Any]
JOB = job_id("acme", "a")


def compact(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


class Device:
    """``session`` and ``sequence`` are its memory; each claim takes the next number."""

    def __init__(self, key: DeviceKey | bytes = b"d" * 32, *, pool: str = POOL) -> None:
        """``key`` or its seed."""
        self.key = DeviceKey(key) if isinstance(key, bytes) else key
        self.session = str(uuid.uuid4())
        self.sequence = 0
        self._pool = pool

    @property
    def id(self) -> str:
        return self.key.device

    def hello(self, nonce: str, **changes: Any) -> str:
        signature = self.key.sign(pool=self._pool, kind="Hello", text=f"{nonce} {self.session}")
        return compact({"type": "Hello", "device": self.id, "session": self.session, "signature": signature, **changes})

    def payload(self, **fields: Any) -> str:
        self.sequence += 1
        time = to_rfc3339(datetime.now(UTC))
        return compact({"session": self.session, "sequence": self.sequence, "time": time, **fields})

    def attempt(self, job: str = JOB, attempt: int = 1, **fields: Any) -> str:
        return self.payload(job=job, attempt=attempt, lease=lease_id(job, attempt), **fields)

    def signed(self, kind: str, payload: str, **changes: Any) -> str:
        signature = self.key.sign(pool=self._pool, kind=kind, text=payload)
        return json.dumps({"type": kind, "payload": payload, "signature": signature, **changes})

    def heartbeat(self, **fields: Any) -> str:
        return self.signed("Heartbeat", self.payload(**fields))

    def started(self, job: str = JOB, attempt: int = 1) -> str:
        return self.signed("JobStarted", self.attempt(job, attempt))


class Socket:
    """A connection of a device."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, *texts: str | bytes) -> None:
        for text in texts:
            await self._connection.send(text)

    async def hear(self) -> Message:
        async with asyncio.timeout(WITHIN_S):
            message: Message = json.loads(await self._connection.recv())
        return message

    async def ask(self, text: str | bytes) -> Message:
        """What the next message says, type first."""
        await self.send(text)
        return await self.hear()

    async def closed(self) -> tuple[int, list[Message]]:
        """The code with which edge closed it, and what it said before."""
        heard = []
        try:
            while True:
                heard.append(await self.hear())
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006, heard

    async def hang_up(self) -> None:
        await self._connection.close()


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[tuple[Socket, str]]:
    """A connection that has been challenged, and the nonce."""
    async with connect(url.replace("http", "ws", 1) + "/agents", compression=None, **options) as connection:
        socket = Socket(connection)
        challenge = await socket.hear()
        assert challenge["type"] == "Challenge", challenge
        yield socket, challenge["nonce"]


@asynccontextmanager
async def welcomed(url: str, device: Device, **options: Any) -> AsyncIterator[tuple[Socket, Message]]:
    """A connection of a device that was let in, and its Welcome."""
    async with connected(url, **options) as (socket, nonce):
        welcome = await socket.ask(device.hello(nonce))
        assert welcome["type"] == "Welcome", welcome
        yield socket, welcome
