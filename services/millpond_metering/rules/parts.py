"""What a usage line is put together from: records that wait under their job until all of them are there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self

from millpond.events.agent_claims import JobSucceeded
from millpond.events.event import Event
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.events.metering_usage import SourceRecord
from millpond.events.scheduler_assignments import AttemptClosed, JobAccepted
from millpond.stream.decision import Received
from millpond.stream.record import Place
from millpond.workloads.blob import Blob

Observation = OutputObserved | OutputUnreadable | OutputUnavailable

KINDS: Final[Mapping[str, type[Event]]] = {
    kind.type_name: kind
    for kind in (JobAccepted, AttemptClosed, JobSucceeded, OutputObserved, OutputUnreadable, OutputUnavailable)
}

ACCEPTED: Final = "accepted"
KEPT: Final = "kept"


@dataclass(frozen=True)
class Part:
    """A record that a line needs, verbatim, and where it stands. ``event`` reads it, once."""

    kind: str
    place: Place
    offset: int
    stamp_ms: int
    value: bytes

    @classmethod
    def of(cls, received: Received) -> Self:
        part = cls(received.event.type_name, received.place, received.offset, received.stamp_ms, received.value)
        # What has just been read need not be read again.
        part.__dict__["event"] = received.event
        return part

    @cached_property
    def event(self) -> Event:
        return KINDS[self.kind].model_validate_json(self.value)

    @property
    def source(self) -> SourceRecord:
        return SourceRecord(topic=self.place.topic, partition=self.place.partition, offset=self.offset)


@dataclass(frozen=True, slots=True)
class Job:
    """``parts`` by name: the first of a name counts, in the order of its partition, so whichever topic is read first.

    ``is_closed``: its line is written, or there will be none; nothing about it is waited for any more. ``attempt`` is
    the one that was counted, if any.
    """

    parts: Mapping[str, Part] = field(default_factory=dict)
    is_closed: bool = False
    attempt: int | None = None

    @property
    def has_kept(self) -> bool:
        return KEPT in self.parts

    def having(self, name: str, part: Part) -> Job:
        return Job({**self.parts, name: part})


def part_name(event: Event) -> str | None:
    """Under which name an event waits; None if no line needs it."""
    match event:
        case JobAccepted():
            return ACCEPTED
        case AttemptClosed(outcome="kept"):
            return KEPT
        case JobSucceeded():
            # The device stands beside the hash: who copies another's words doesn't take their place.
            return result_name(event.device, event.payload_hash)
        case OutputObserved() | OutputUnreadable() | OutputUnavailable():
            return output_name(event.result, event.rendition, event.blob)
        case _:
            return None


def result_name(device: str, result: str) -> str:
    return f"result/{device}/{result}"


def output_name(result: str, rendition: str, blob: Blob) -> str:
    return f"output/{result}/{rendition}/{blob.hash}"
