"""What the topics say while the demo runs: a read model of its own, which nobody else's word goes into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from faststream.kafka import KafkaBroker

from millpond.events.event import Event
from millpond.events.gateway_jobs import JobRequested
from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded
from millpond.events.registry_gpus import GpuGone, GpuOnline, GpuSuspect
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned, JobFinished, JobGivenUp, JobRefused
from millpond.events.topics import (
    AGENT_RESULTS,
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    GATEWAY_JOBS,
    METERING_USAGE,
    REGISTRY_GPUS,
    REWARDS_EPOCHS,
    REWARDS_STATEMENTS,
    SCHEDULER_ASSIGNMENTS,
    TREASURY_SETTLEMENTS,
)
from millpond.settings import KafkaSettings
from millpond.stream import Cursor, Follow, KafkaFeed, Place, Received
from millpond.stream.feed import LogAway
from millpond.stream.kafka.log import KafkaLog
from millpond.telemetry.metrics import Metrics
from millpond_demo.ledger import Ledger

WORK = (REGISTRY_GPUS, GATEWAY_JOBS, AGENT_RESULTS, SCHEDULER_ASSIGNMENTS, METERING_USAGE)
MONEY = (CHAIN_REVENUE, CHAIN_TRANSFERS, REWARDS_EPOCHS, REWARDS_STATEMENTS, TREASURY_SETTLEMENTS)
TOPICS = (*WORK, *MONEY)
BATCH_RECORDS_MAX = 500
AWAY_RETRY_S = 0.5

Listener = Callable[[Event], None]


@dataclass
class Seen:
    """Everything by its natural key; ``lines`` has every usage line there is, so that one too many shows."""

    online: dict[str, str] = field(default_factory=dict)
    requested: set[str] = field(default_factory=set)
    assigned: dict[tuple[str, int], JobAssigned] = field(default_factory=dict)
    closed: dict[tuple[str, int], AttemptClosed] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    unfinished: dict[str, JobRefused | JobGivenUp] = field(default_factory=dict)
    lines: list[UsageLine] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def reassigned(self) -> set[str]:
        """Jobs that needed more than one attempt."""
        return {job for job, attempt in self.assigned if attempt > 1}

    @property
    def counted(self) -> set[str]:
        return {line.job for line in self.lines}

    def running_on(self, device: str) -> int:
        """Attempts that the device has and that nobody has closed."""
        return sum(each.device == device for key, each in self.assigned.items() if key not in self.closed)

    def kept_of(self, device: str) -> int:
        return sum(closed.outcome == "kept" and closed.device == device for closed in self.closed.values())

    def pixels_of(self, device: str) -> int:
        return sum(line.quantity for line in self.lines if line.device == device)


class Watch:
    """Keeps ``seen`` up to date, and wakes whoever waits for something to be seen."""

    def __init__(self, log: KafkaLog) -> None:
        self.seen = Seen()
        self.listeners: list[Listener] = []
        self.follow: Follow
        self._log = log
        self._changed = asyncio.Condition()

    async def until(self, happened: Callable[[Seen], bool]) -> None:
        """Returns once it has; the caller sets the limit."""
        async with self._changed:
            await self._changed.wait_for(lambda: happened(self.seen))

    async def caught_up(self) -> None:
        """Returns once all has been seen that is on the topics now."""
        places = [Place(topic.name, partition) for topic in TOPICS for partition in range(topic.partitions)]
        while True:
            try:
                extents = await self._log.extents(places)
                break
            except LogAway:
                await asyncio.sleep(AWAY_RETRY_S)
        await self.follow.wait_for(Cursor({place: extent.end for place, extent in extents.items()}))

    async def apply(self, received: Received) -> None:
        _note(self.seen, received.event)
        for listener in tuple(self.listeners):
            listener(received.event)
        async with self._changed:
            self._changed.notify_all()


def _note(seen: Seen, event: Event) -> None:
    match event:
        case JobRequested():
            seen.requested.add(event.job)
        case JobAssigned():
            seen.assigned[event.job, event.attempt] = event
        case AttemptClosed():
            seen.closed[event.job, event.attempt] = event
        case JobFinished():
            seen.finished.add(event.job)
        case JobRefused() | JobGivenUp():
            seen.unfinished[event.job] = event
        case GpuOnline():
            seen.online[event.device] = "online"
        case GpuSuspect():
            seen.online[event.device] = "silent"
        case GpuGone():
            seen.online[event.device] = "gone"
        case UsageRecorded() | UsageHeld():
            seen.lines.append(event)
        case _:
            seen.ledger.note(event)


@asynccontextmanager
async def watching(bootstrap_servers: str) -> AsyncIterator[Watch]:
    """A ``Watch`` that follows the topics until the block ends."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap_servers)
    watch, stopping = Watch(KafkaLog(kafka.client_options())), asyncio.Event()
    broker = KafkaBroker(bootstrap_servers.split(","), allow_auto_create_topics=False, logger=None)
    feed = KafkaFeed(broker, kafka.client_options(), TOPICS, None, BATCH_RECORDS_MAX)
    await broker.start()
    watch.follow = Follow(TOPICS, feed, watch.apply, Metrics(service="demo"))
    following = asyncio.create_task(watch.follow.run(stopping))
    try:
        yield watch
    finally:
        stopping.set()
        await following
        await feed.close()
        await broker.stop()
