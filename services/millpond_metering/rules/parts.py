"""What a usage line is put together from: records that wait under their job until all of them are there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

from millpond.events.agent_claims import JobSucceeded
from millpond.events.event import Event
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.events.metering_usage import SourceRecord
from millpond.events.scheduler_assignments import AttemptClosed, JobAccepted
from millpond.stream.decision import Received
from millpond.stream.record import Place
from millpond.workloads.blob import Blob

Observation = OutputObserved | OutputUnreadable | OutputUnavailable

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
    name = _NAMES.get(type(event))
    return None if name is None else name(event)


def result_name(device: str, result: str) -> str:
    return f"result/{device}/{result}"


def output_name(result: str, rendition: str, blob: Blob) -> str:
    return f"output/{result}/{rendition}/{blob.hash}"


def _kept_name(event: Any) -> str | None:
    return KEPT if event.outcome == "kept" else None


def _result_name(event: Any) -> str:
    # The device stands beside the hash: who copies another's words doesn't take their place.
    return result_name(event.device, event.payload_hash)


def _output_name(event: Any) -> str:
    return output_name(event.result, event.rendition, event.blob)


# By type, since a look at each of ten models in turn took as long as reading the record.
_NAMES: Final[Mapping[type[Event], Callable[[Any], str | None]]] = {
    JobAccepted: lambda _: ACCEPTED,
    AttemptClosed: _kept_name,
    JobSucceeded: _result_name,
    OutputObserved: _output_name,
    OutputUnreadable: _output_name,
    OutputUnavailable: _output_name,
}
KINDS: Final[Mapping[str, type[Event]]] = {kind.type_name: kind for kind in _NAMES}
