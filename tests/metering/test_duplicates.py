"""Incident 27, `openmeter-marked-before-accepted`, metering's part: a result is a duplicate only in metering's transaction.

There the id was marked as seen before the event was safe: when what followed failed, the honest retry was dropped, and
answered with success. Here item, state and line are one transaction: what failed was never seen.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from metering.memory_store import MemoryStore
from metering.samples import PIXELS, POOL, POOL_KEY, TOPIC_OF, Story, signed, story
from millpond.events.agent_claims import JobSucceeded, claim_item
from millpond.events.envelope import Envelope, encode
from millpond.events.event import Event
from millpond.events.metering_usage import UsageRecorded
from millpond.events.topic import Written
from millpond.events.topics import METERING_USAGE
from millpond.stream import backoff
from millpond.stream.log import Outbound
from millpond.stream.memory.log import MemoryFeed, MemoryLog
from millpond.stream.outlet import partition_of
from millpond.stream.record import ITEM, OUTBOX, OutboxNumber, Place
from millpond_metering.app import metering
from stream.flaky import Broker, Fault, FlakyDatabase
from stream.memory_service import HandClock, Instance, running, settled
from stream.topics_made import applied_once

SEED = 27
JOBS = 8


def stories() -> list[Story]:
    told = []
    for number in range(1, JOBS + 1):
        claim = story(f"job-{number}").result.claim.model_copy(update={"sequence": number})
        told.append(story(f"job-{number}", result=signed(claim.model_dump_json())))
    return told


class Writers:
    """Puts events on the log with what their writers would give them."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._numbers: dict[Place, int] = {}

    def put(self, key: str, event: Event) -> None:
        topic = TOPIC_OF[event.type_name]
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        if topic.written is Written.BY_SOURCE:
            assert isinstance(event, JobSucceeded)
            header = ITEM, claim_item(event.device, event.claim).encode()
        else:
            last = self._numbers.get(place, 0)
            self._numbers[place] = last + 1
            # One source a partition: its numbers need not be those of the whole.
            header = OUTBOX, OutboxNumber(f"{topic.owner}-{place.partition}", last + 1, last).to_header()
        envelope = Envelope("test", event.type_name, "/millpond/test", "2026-01-01T00:00:00.000Z")
        self._log.append(place, Outbound(key.encode(), event.to_bytes(), (*encode(envelope), header), 1_000_000))


class NaiveIngest:
    """What the source did: seen first, handed on afterwards."""

    def __init__(self, fails: Sequence[bool]) -> None:
        self._fails = iter(fails)
        self._seen: set[str] = set()
        self.counted = 0

    def take(self, item: str) -> bool:
        if item in self._seen:
            return True
        self._seen.add(item)
        if next(self._fails):
            return False
        self.counted += 1
        return True


async def counted(results: int, faults: Sequence[Fault], monkeypatch: pytest.MonkeyPatch) -> list[UsageRecorded]:
    """The lines of all stories, each result sent ``results`` times, while the database fails as told, and then works."""
    monkeypatch.setattr(backoff, "FIRST_S", 0.0005)
    service = metering(POOL, POOL_KEY)
    service = type(service)(**{**service.__dict__, "store": MemoryStore()})
    clock, log = HandClock(), MemoryLog()
    inputs = [Place(topic.name, n) for topic in service.reads for n in range(topic.partitions)]
    outputs = [Place(METERING_USAGE.name, n) for n in range(METERING_USAGE.partitions)]
    for place in (*inputs, *outputs):
        log._records[place] = []
    written = Writers(log)
    for each in stories():
        for event in (each.accepted, each.kept, *[each.result] * results, *each.observations):
            written.put(each.job, event)
    failing = iter(faults)
    database = FlakyDatabase(lambda: clock.now_s, lambda: next(failing, ""))
    instance = Instance(service, log, database, clock, MemoryFeed(log, inputs, records_max=5))
    async with running(instance, open_publisher=Broker(log).open):
        await settled(database, log, inputs)
    published = applied_once([record for place in outputs for record in log.slice(place, 0, 1_000)])
    return [UsageRecorded.model_validate_json(each.value or b"") for found in published.values() for each in found]


@pytest.mark.parametrize("results", [1, 2, 5])
@pytest.mark.parametrize("trouble", ["none", "before the commit", "after the commit", "both"])
async def test_a_result_that_is_sent_again_is_counted_once_whatever_failed_in_between(
    results: int, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(SEED)
    kinds: dict[str, list[Fault]] = {
        "none": [""],
        "before the commit": ["before"],
        "after the commit": ["after"],
        "both": ["before", "after", ""],
    }
    # Not two in a row: the service waits longer each time.
    faults = [fault for _ in range(15) for fault in (chance.choice(kinds[trouble]), "", "")]
    lines = await counted(results, faults, monkeypatch)
    assert sorted(line.job for line in lines) == sorted(each.job for each in stories())
    assert {line.quantity for line in lines} == {PIXELS}


def test_the_honest_retry_is_lost_where_it_is_marked_first() -> None:
    ingest = NaiveIngest([True, False])
    assert not ingest.take("device/session/4")
    assert ingest.take("device/session/4"), "answered with success"
    assert ingest.counted == 0
