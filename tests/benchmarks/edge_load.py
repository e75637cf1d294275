"""Agents that are connected and beat, as a program: says how many were acknowledged, and how soon, as JSON on its output.

``python -m benchmarks.edge_load URL AGENTS SECONDS``. Each agent greets, and beats every 5 s at a moment of its own.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime

from websockets.asyncio.client import ClientConnection, connect

from millpond.events.agent_claims import Heartbeat
from millpond.events.device_claims import GpuLoad
from millpond.identity import DeviceKey

POOL = "bench"
BEAT_EVERY_S = 5.0
# So many greet at once: what is measured is a pool at work, not its morning.
GREETING_MAX = 50
LOADS = (GpuLoad(hardware_id="GPU-0", running=1, utilization_percent=50, memory_free_bytes=2**33),)


def key_of(agent: int) -> DeviceKey:
    return DeviceKey(b"bench" + agent.to_bytes(27, "big"))


@dataclass
class Heard:
    """``waits_s``: of each heartbeat, from sending to its acknowledgement."""

    connected: int = 0
    sent: int = 0
    waits_s: list[float] = field(default_factory=list)


class Agent:
    """Sends a heartbeat when told, and notes when it was acknowledged."""

    def __init__(self, number: int, heard: Heard) -> None:
        self._key = key_of(number)
        self._session = str(uuid.uuid4())
        self._sequence = 0
        self._sent_at: dict[int, float] = {}
        self._heard = heard

    async def run(self, url: str, greeting: asyncio.Semaphore, begin: asyncio.Event, end: asyncio.Event) -> None:
        async with greeting:
            socket = await connect(url, compression=None, ping_interval=5, ping_timeout=None, open_timeout=60)
            await self._greet(socket)
        self._heard.connected += 1
        listening = asyncio.create_task(self._listen(socket))
        await begin.wait()
        await asyncio.sleep(random.uniform(0, BEAT_EVERY_S))
        while not end.is_set():
            await self._beat(socket)
            await asyncio.sleep(BEAT_EVERY_S)
        listening.cancel()
        await socket.close()

    async def _greet(self, socket: ClientConnection) -> None:
        nonce = json.loads(await socket.recv())["nonce"]
        signature = self._key.sign(pool=POOL, kind="Hello", text=f"{nonce} {self._session}")
        hello = {"type": "Hello", "device": self._key.device, "session": self._session, "signature": signature}
        await socket.send(json.dumps(hello))
        assert json.loads(await socket.recv())["type"] == "Welcome"

    async def _beat(self, socket: ClientConnection) -> None:
        self._sequence += 1
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        names = {"session": self._session, "sequence": self._sequence, "time": now}
        payload = Heartbeat.claim_type(**names, loads=LOADS).model_dump_json()  # type: ignore[call-arg]  # a Heartbeat's
        signature = self._key.sign(pool=POOL, kind="Heartbeat", text=payload)
        self._sent_at[self._sequence] = time.perf_counter()
        self._heard.sent += 1
        await socket.send(json.dumps({"type": "Heartbeat", "payload": payload, "signature": signature}))

    async def _listen(self, socket: ClientConnection) -> None:
        async for text in socket:
            message = json.loads(text)
            if message["type"] == "Accepted":
                self._heard.waits_s.append(time.perf_counter() - self._sent_at.pop(message["sequence"]))


async def main(url: str, agents: int, seconds: float) -> None:
    heard, greeting, begin, end = Heard(), asyncio.Semaphore(GREETING_MAX), asyncio.Event(), asyncio.Event()
    running = [asyncio.create_task(Agent(n, heard).run(url, greeting, begin, end)) for n in range(agents)]
    while heard.connected < agents:
        failed = [task for task in running if task.done()]
        assert not failed, await asyncio.gather(*failed)
        await asyncio.sleep(0.05)
    # Whoever measures the other side's work begins now.
    print(json.dumps({"connected": heard.connected}), flush=True)
    begin.set()
    await asyncio.sleep(seconds)
    end.set()
    await asyncio.gather(*running, return_exceptions=True)
    p99_s = statistics.quantiles(heard.waits_s, n=100)[98] if len(heard.waits_s) > 1 else float("inf")
    late = sum(wait_s > BEAT_EVERY_S for wait_s in heard.waits_s)
    answer = {"sent": heard.sent, "acknowledged": len(heard.waits_s), "late": late, "p99_ms": p99_s * 1_000}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
