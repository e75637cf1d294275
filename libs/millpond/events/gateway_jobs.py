"""``gateway.jobs.v1``, key: the job; and what an external gateway writes to its own topic, ``gateway.<id>.requests.v1``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from millpond.events.event import Event
from millpond.events.ids import GatewayId, RequestId, Uuid
from millpond.workloads.transcode import TranscodeSpec

# No job of the pool runs longer; the terms may say less.
DEADLINE_S_MAX = 86_400
DeadlineS = Annotated[int, Field(strict=True, ge=1, le=DEADLINE_S_MAX)]


class JobAsked(Event):
    """A gateway's own words over Kafka: untrusted. ``id`` is its own, and the same for a repeat."""

    id: RequestId
    workload: Literal["transcode"]
    spec: TranscodeSpec
    deadline_s: DeadlineS = 60


class CancelAsked(Event):
    """Takes a job back that the same gateway asked for under this id."""

    id: RequestId


class JobRequested(Event):
    """``job`` follows from (gateway, its own id). ``deadline_s`` counts from edge's stamp."""

    job: Uuid
    gateway: GatewayId
    request_id: RequestId
    workload: Literal["transcode"]
    spec: TranscodeSpec
    deadline_s: DeadlineS


class JobCancelled(Event):
    """The gateway doesn't want it any more. What was done before counts."""

    job: Uuid
    gateway: GatewayId


def request_item(event: JobRequested) -> str:
    """What the header ``item`` says: the same request is the same item, whichever door it came through."""
    return f"{event.gateway}/{event.request_id}"


def cancel_item(event: JobCancelled) -> str:
    return f"{event.gateway}/{event.job}/cancel"
