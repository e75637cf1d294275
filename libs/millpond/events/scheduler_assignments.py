"""``scheduler.assignments.v1``: which GPU runs which job, and which attempt counts. Key: the job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from millpond.events.device_claims import Output
from millpond.events.event import Event
from millpond.events.fields import Address, Amount, Hash32, Instant
from millpond.events.ids import Attempt, GatewayId, Reason, RequestId, Sentence, Uuid
from millpond.workloads.transcode import RENDITIONS_MAX, TranscodeSpec

CANDIDATES_MAX = 8


class AgreedPrice(BaseModel):
    """``wei`` for each ``per_units`` of ``unit``, an exact fraction; from the terms under which the job was accepted."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    unit: Literal["pixel"]
    wei: Amount
    per_units: Annotated[int, Field(strict=True, ge=1)]


class Candidate(BaseModel):
    """A GPU that could have run it; the lowest score wins.

    ``score``: the share of its slots in use, in millionths; and a million more for each reason to prefer another: it rests
    after a failure, the job failed with the same contributor, the job failed on this GPU.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    gpu: Uuid
    score: Annotated[int, Field(strict=True, ge=0)]
    slots_free: Annotated[int, Field(strict=True, ge=0)]


class JobAccepted(Event):
    """The pool will do it, at this price, or say by ``deadline_at`` that it couldn't."""

    job: Uuid
    gateway: GatewayId
    request_id: RequestId
    workload: Literal["transcode"]
    spec: TranscodeSpec
    price: AgreedPrice
    terms_hash: Hash32
    deadline_at: Instant
    as_of: Instant


class JobAssigned(Event):
    """Attempt ``attempt`` is this device's, as long as it shows progress within the lease.

    ``candidates``: the best at that moment, the chosen one first. ``delegation``: under which the device works.
    """

    job: Uuid
    attempt: Attempt
    lease: Uuid
    lease_until: Instant
    gpu: Uuid
    hardware_id: str
    device: Hash32
    contributor: Address
    delegation: Hash32
    workload: Literal["transcode"]
    spec: TranscodeSpec
    deadline_at: Instant
    candidates: Annotated[tuple[Candidate, ...], Field(max_length=CANDIDATES_MAX)]
    as_of: Instant


class AttemptClosed(Event):
    """What became of an attempt, once and for ever. ``kept``: ``result`` (the signed claim's SHA-256) is what counts."""

    job: Uuid
    attempt: Attempt
    lease: Uuid
    gpu: Uuid
    device: Hash32
    contributor: Address
    outcome: Literal["kept", "lost"]
    reason: Reason
    sentence: Sentence
    result: Hash32 | None = None
    as_of: Instant


class JobFinished(Event):
    """Done: the kept attempt's outputs, in the order of the renditions."""

    job: Uuid
    gateway: GatewayId
    attempt: Attempt
    outputs: Annotated[tuple[Output, ...], Field(max_length=RENDITIONS_MAX)]
    as_of: Instant


class JobRefused(Event):
    """Not taken, and why."""

    job: Uuid
    gateway: GatewayId
    request_id: RequestId
    reason: Reason
    sentence: Sentence
    as_of: Instant


class JobGivenUp(Event):
    """Taken, and not done: cancelled, past its deadline, or tried too often."""

    job: Uuid
    gateway: GatewayId
    attempts: Annotated[int, Field(strict=True, ge=0)]
    reason: Reason
    sentence: Sentence
    as_of: Instant
