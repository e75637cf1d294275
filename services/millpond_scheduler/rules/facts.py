"""What the board is made of: jobs, attempts, GPUs; and how times are spelt."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from millpond.events.gateway_jobs import JobRequested
from millpond.terms.terms import Terms
from millpond.workloads.transcode import TranscodeSpec

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


@lru_cache(maxsize=4_096)
def instant(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MILLISECOND


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt that was lost: where, and why."""

    gpu: str
    contributor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was accepted and has not ended. ``order``: how many were accepted before it.

    ``partition``: of all job-keyed topics, the one in which everything about it stands.
    """

    id: str
    partition: int
    gateway: str
    spec: TranscodeSpec
    terms_hash: str
    deadline_ms: int
    order: int
    tried: tuple[Tried, ...] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The one open attempt of a job. ``lease_ms``: by how much a sign of life renews it. ``gone``: its GPU is no more.

    ``forgiven``: after an outage of the pool's own it was given a new lease, and has shown no sign of life since.
    """

    job: str
    number: int
    lease: str
    gpu: str
    device: str
    contributor: str
    assigned_ms: int
    lease_ms: int
    lease_until_ms: int
    gone: bool = False
    forgiven: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the registry tells of it. ``online``: it answers, and is neither draining nor suspect."""

    id: str
    hardware_id: str
    device: str
    contributor: str
    slots: int
    workloads: tuple[str, ...]
    online: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What a GPU did for us. ``last_assigned`` counts all assignments of the pool; 0: it never had one.

    ``failures``: lost attempts since the last that was kept. Until ``rests_until_ms`` it is asked after all others.
    """

    last_assigned: int = 0
    failures: int = 0
    rests_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """A device that works for a contributor, under a delegation that ends."""

    contributor: str
    delegation: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One published version of the terms."""

    version: int
    effective_from_epoch: int
    hash: str
    terms: Terms


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is not decided yet: its gateway, or the terms, may stand on a topic that was not read so far."""

    request: JobRequested
    partition: int
    stamp_ms: int
