"""An edge over a log in memory, on a real socket; the pool's other services are whoever writes to that log."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from uvicorn import Config, Server

from millpond.blobs import BlobStore
from millpond.events.envelope import Envelope, encode
from millpond.events.event import Event
from millpond.events.registry_gateways import GatewayAdmitted
from millpond.events.registry_members import ContributorAdmitted, DeviceRegistered
from millpond.events.topic import Topic, Written
from millpond.events.topics import REGISTRY_GATEWAYS, REGISTRY_MEMBERS, TOPICS
from millpond.identity import DeviceKey, Domain
from millpond.stream.cursor import Cursor
from millpond.stream.log import Outbound, Publisher
from millpond.stream.memory.log import MemoryFeed, MemoryLog, MemoryPublisher
from millpond.stream.outlet import ce_time, partition_of
from millpond.stream.process import Clock
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place, Record
from millpond.stream.source import Source
from millpond.telemetry.metrics import Metrics
from millpond_edge.agents.messages import MESSAGE_BYTES_MAX
from millpond_edge.agents.roster import Roster
from millpond_edge.app import create_app
from millpond_edge.credentials.limits import RateLimits
from millpond_edge.door import Door
from millpond_edge.settings import EdgeSettings
from millpond_edge.view.view import TOPICS as FOLLOWED
from millpond_edge.view.view import View

POOL = "pond"
CHAIN_ID = 31_337
RECEIPT_KEY = "0x" + "5e" * 32
CONTRIBUTOR = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
# Bounds that only a hanging edge reaches.
WITHIN_S = 120.0


def api_key(gateway: str) -> str:
    return f"mpk_{gateway}_{secrets.token_urlsafe(32)}"


def key_hash(key: str) -> str:
    return "0x" + hashlib.sha256(key.encode()).hexdigest()


def from_now(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(time.time() + seconds), tz=UTC)


def device_authorization(key: DeviceKey, method: str, path: str, *, pool: str = POOL, ahead_s: float = 60) -> str:
    expires = int(time.time() + ahead_s)
    return f"Device {key.device}.{expires}.{key.sign(pool=pool, kind='BlobAccess', text=f'{method} {path} {expires}')}"


class PoolLog(MemoryLog):
    """The pool's topics, written as their owners write them."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers: dict[Place, int] = {}
        self._number = 0

    def say(self, topic: Topic, key: str, event: Event, *, item: str | None = None, stamp_ms: int | None = None) -> int:
        """Appends one event under the next number of the topic's owner, or as an item; returns its offset."""
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        stamp_ms = int(time.time() * 1000) if stamp_ms is None else stamp_ms
        envelope = Envelope(f"{topic.owner}/x", event.type_name, f"/millpond/{topic.owner}", ce_time(stamp_ms))
        own = (ITEM, (item or "").encode())
        if topic.written is Written.BY_PROCESS:
            self._number += 1
            own = (OUTBOX, OutboxNumber(topic.owner, self._number, self._numbers.get(place, 0)).to_header())
            self._numbers[place] = self._number
        return self.append(place, Outbound(key.encode(), event.to_bytes(), (*encode(envelope), own), stamp_ms))

    def records(self, topic: Topic) -> list[Record]:
        places = [Place(topic.name, partition) for partition in range(topic.partitions)]
        return [record for place in places for record in self.slice(place, 0, 1_000_000)]

    def ends(self) -> dict[str, int]:
        """How many records each topic of the pool holds."""
        return {name: len(self.records(topic)) for name, topic in TOPICS.items()}

    def admit_gateway(self, gateway: str, *, expires_in_s: float = 3_600) -> str:
        """Returns the API key."""
        key = api_key(gateway)
        event = GatewayAdmitted(gateway=gateway, key_hash=key_hash(key), expires_at=from_now(expires_in_s))
        self.say(REGISTRY_GATEWAYS, gateway, event)
        return key

    def register(self, device: str, *, contributor: str = CONTRIBUTOR, expires_in_s: float = 3_600) -> None:
        self.say(REGISTRY_MEMBERS, contributor, ContributorAdmitted(contributor=contributor, policy="open"))
        event = DeviceRegistered(
            contributor=contributor,
            device=device,
            delegation="0x" + "de" * 32,
            scope="work",
            expires_at=from_now(expires_in_s),
        )
        self.say(REGISTRY_MEMBERS, contributor, event)


class PatientFeed(MemoryFeed):
    """Looks again in a while, as a consumer does: else one that has nothing to read takes all of the processor."""

    async def poll(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        batches = await super().poll(timeout_s)
        if not batches:
            await asyncio.sleep(0.002)
        return batches


class DeadPublisher:
    """A broker that takes nothing."""

    async def send(self, place: Place, records: Any) -> Any:
        await asyncio.Event().wait()

    async def close(self) -> None:
        return


@dataclass
class RunningEdge:
    """``http`` has no credentials. ``ahead_ms[0]`` moves edge's clock."""

    door: Door
    log: PoolLog
    http: httpx.AsyncClient
    url: str
    blob_directory: Path
    ahead_ms: list[int] = field(default_factory=lambda: [0])

    async def settled(self) -> None:
        """Returns once edge has read all there is."""
        places = [Place(topic.name, partition) for topic in FOLLOWED for partition in range(topic.partitions)]
        ends = {place: self.log.extent(place).end for place in places}
        async with asyncio.timeout(WITHIN_S):
            await self.door.view.wait_for(Cursor(ends))

    async def gateway(self, name: str = "acme") -> dict[str, str]:
        """Admits a gateway; its headers."""
        key = self.log.admit_gateway(name)
        await self.settled()
        return {"authorization": f"Bearer {key}"}


@asynccontextmanager
async def running_edge(
    directory: Path,
    log: PoolLog | None = None,
    *,
    publisher: Publisher | None = None,
    patience_s: float = 5.0,
    settings: Mapping[str, Any] | None = None,
    database: asyncpg.Pool | None = None,
    opened: bool = True,
    port: int = 0,
) -> AsyncIterator[RunningEdge]:
    """An edge that has caught up, if ``opened``."""
    log = log or PoolLog()
    metrics = Metrics(service="edge")
    places = [Place(topic.name, partition) for topic in FOLLOWED for partition in range(topic.partitions)]
    view = View(PatientFeed(log, places), metrics)
    # First of all: the pool's own address is part of what edge answers, and of what wallets sign.
    listening = socket.create_server(("127.0.0.1", port))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    edge_settings = EdgeSettings(receipt_key=RECEIPT_KEY, **{"public_url": url, **(settings or {})})
    ahead_ms = [0]

    async def open_publisher() -> Publisher:
        return publisher or MemoryPublisher(log)

    stopping = asyncio.Event()
    # Without a database of the test's own: one that is away.
    away = await asyncpg.create_pool("postgresql://nobody@127.0.0.1:1/none", min_size=0, max_size=1)
    async with Source("edge", open_publisher, metrics, patience_s=patience_s) as source:
        door = Door(
            settings=edge_settings,
            domain=Domain(pool=POOL, chain_id=CHAIN_ID),
            source=source,
            blobs=BlobStore.at(str(directory)),
            view=view,
            database=database or away,
            clock=Clock(lambda: int(time.time() * 1000) + ahead_ms[0], time.monotonic),
            limits=RateLimits(
                rate=edge_settings.requests_per_s, burst=edge_settings.requests_burst, monotonic_s=time.monotonic
            ),
            stopping=stopping,
        )
        roster = Roster(door)
        running = {asyncio.create_task(view.run(stopping)), asyncio.create_task(roster.run(stopping))}
        with listening:
            server = Server(
                Config(create_app(door, roster), log_config=None, lifespan="off", ws_max_size=MESSAGE_BYTES_MAX)
            )
            server.capture_signals = suppress  # type: ignore[method-assign]
            serving = asyncio.create_task(server.serve([listening]))
            async with httpx.AsyncClient(base_url=url, timeout=WITHIN_S) as http:
                edge = RunningEdge(door, log, http, url, directory, ahead_ms)
                try:
                    if opened:
                        await edge.settled()
                        view.caught_up.set()
                    yield edge
                finally:
                    stopping.set()
                    server.should_exit = True
                    await asyncio.wait({serving, *running}, timeout=WITHIN_S)
