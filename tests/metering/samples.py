"""A job as the topics tell it, made from as little as a test has to say; and the rules, told it in some order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import JobSucceededClaim, Output
from millpond.events.event import Event
from millpond.events.ids import job_id, lease_id
from millpond.events.inspector_observations import OutputObserved
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import AgreedPrice, AttemptClosed, JobAccepted, JobFinished
from millpond.events.topic import Topic
from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    REWARDS_EPOCHS,
    SCHEDULER_ASSIGNMENTS,
)
from millpond.identity import DeviceKey
from millpond.proofs import ReceiptKey, countersign
from millpond.stream.decision import Decision, Outgoing, Received
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec
from millpond_metering.rules import NOTHING, State, decide
from millpond_metering.rules.line import Signatures

POOL = "pond"
POOL_KEY = ReceiptKey(b"\x07" * 32)
DEVICE = DeviceKey(b"\x01" * 32)
OTHER_DEVICE = DeviceKey(b"\x02" * 32)
CONTRIBUTOR = "0x5AEDA56215b167893e80B4fE645BA6d5Bab767DE"
GPU = "82c83746-5bd8-5707-ba28-6f0b5068d779"
SESSION = "00000000-0000-4000-8000-000000000001"
NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
RENDITIONS = (
    Rendition(name="240p", width=426, height=240, bitrate_kbps=300),
    Rendition(name="360p", width=640, height=360, bitrate_kbps=800),
)
FRAMES = 25
PIXELS = FRAMES * (426 * 240 + 640 * 360)
SIGNATURES = Signatures(POOL, partial(countersign, pool=POOL, key=POOL_KEY))  # type: ignore[arg-type]

TOPIC_OF: dict[str, Topic] = {
    kind.type_name: topic
    for topic in (SCHEDULER_ASSIGNMENTS, AGENT_RESULTS, INSPECTOR_OBSERVATIONS, REWARDS_EPOCHS)
    for kind in topic.events
}


def blob(text: str) -> Blob:
    return Blob(hash="0x" + hashlib.sha256(text.encode()).hexdigest(), size_bytes=1_000)


def output(job: str, rendition: Rendition, **changes: Any) -> Output:
    facts = {
        "rendition": rendition.name,
        "blob": blob(f"{job}/{rendition.name}"),
        "frames": FRAMES,
        "pixels": rendition.width * rendition.height * FRAMES,
    }
    return Output(**{**facts, **changes})


def signed(payload: str, *, device: DeviceKey = DEVICE, by: DeviceKey | None = None, pool: str = POOL) -> JobSucceeded:
    """``by``: who really signs, for ``device``."""
    signature = (by or device).sign(pool=pool, kind="JobSucceeded", text=payload)
    return JobSucceeded(device=device.device, payload=payload, signature=signature)


def claim(job: str, *, attempt: int = 1, outputs: Sequence[Output] | None = None, **changes: Any) -> JobSucceededClaim:
    facts: dict[str, Any] = {
        "session": SESSION,
        "sequence": 4,
        "time": NOW,
        "job": job,
        "attempt": attempt,
        "lease": lease_id(job, attempt),
        "outputs": tuple(outputs) if outputs is not None else tuple(output(job, each) for each in RENDITIONS),
    }
    return JobSucceededClaim(**{**facts, **changes})


def observed(result: JobSucceeded, which: Output, **changes: Any) -> OutputObserved:
    size = next((each for each in RENDITIONS if each.name == which.rendition), RENDITIONS[0])
    width, height = changes.pop("size", (size.width, size.height))
    frames = changes.pop("frames", which.frames)
    facts = {
        "job": result.claim.job,
        "attempt": result.claim.attempt,
        "result": result.payload_hash,
        "rendition": which.rendition,
        "blob": which.blob,
        "size_bytes": 1_000,
        "width": width,
        "height": height,
        "frames": frames,
        "pixels": width * height * frames,
        "codec": "h264",
        "decoder": "test",
    }
    return OutputObserved(**{**facts, **changes})


@dataclass(frozen=True)
class Story:
    """What the topics say of one job, in the order of each topic. Built well; a test replaces what it needs."""

    job: str
    accepted: JobAccepted
    kept: AttemptClosed
    result: JobSucceeded
    observations: tuple[Event, ...]
    more: tuple[Event, ...] = ()

    @property
    def events(self) -> list[Event]:
        return [self.accepted, self.kept, *self.more, self.result, *self.observations]

    def but(self, **changes: Any) -> Story:
        return replace(self, **changes)


def story(name: str = "a", *, attempt: int = 1, result: JobSucceeded | None = None, **changes: Any) -> Story:
    job = job_id("acme", name)
    result = result or signed(claim(job, attempt=attempt).model_dump_json())
    accepted = JobAccepted(
        job=job,
        gateway="acme",
        request_id=name,
        workload="transcode",
        spec=TranscodeSpec(source=blob("source"), renditions=RENDITIONS),
        price=AgreedPrice(unit="pixel", wei=1_200, per_units=1_000),
        terms_hash="0x" + "51" * 32,
        deadline_at=NOW + timedelta(seconds=60),
        as_of=NOW,
    )
    return Story(job, accepted, kept(job, result, attempt=attempt), result, looks(result), **changes)


def kept(job: str, result: JobSucceeded, *, attempt: int = 1, **changes: Any) -> AttemptClosed:
    facts: dict[str, Any] = {
        "job": job,
        "attempt": attempt,
        "lease": lease_id(job, attempt),
        "gpu": GPU,
        "device": DEVICE.device,
        "contributor": CONTRIBUTOR,
        "outcome": "kept",
        "reason": "succeeded",
        "sentence": "Done.",
        "result": result.payload_hash,
        "as_of": NOW,
    }
    return AttemptClosed(**{**facts, **changes})


def looks(result: JobSucceeded) -> tuple[Event, ...]:
    return tuple(observed(result, each) for each in result.claim.outputs)


def finished(job: str) -> JobFinished:
    return JobFinished(job=job, gateway="acme", attempt=1, outputs=(), as_of=NOW)


@dataclass
class Topics:
    """Gives each event its place, as the writers' topics would, and what a reader gets."""

    ends: dict[Place, int] = field(default_factory=dict)

    def put(self, event: Event, key: str) -> Received:
        topic = TOPIC_OF[event.type_name]
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        offset = self.ends.get(place, 0)
        self.ends[place] = offset + 1
        return Received(topic.name, place, offset, key, event, NOW_MS + offset, event.to_bytes())

    def put_all(self, stories: Iterable[Story]) -> list[Received]:
        return [self.put(event, each.job) for each in stories for event in each.events]


def by_topic(received: Iterable[Received]) -> Mapping[str, list[Received]]:
    found: dict[str, list[Received]] = {}
    for each in received:
        found.setdefault(each.topic, []).append(each)
    return found


def told(received: Iterable[Received], state: State = NOTHING) -> Decision[State]:
    """All that the rules say, having been told everything in this order."""
    events: list[Outgoing] = []
    for each in received:
        decision = decide(state, each, signatures=SIGNATURES)
        state = decision.state
        events += decision.events
    return Decision(state, tuple(events))


def lines(received: Iterable[Received]) -> list[UsageRecorded | UsageHeld]:
    return [out.event for out in told(received).events if isinstance(out.event, UsageRecorded | UsageHeld)]


def only_line(told_story: Story) -> UsageRecorded | UsageHeld:
    (line,) = lines(Topics().put_all([told_story]))
    return line
