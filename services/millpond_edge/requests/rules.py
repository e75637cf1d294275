"""A gateway's own words become a request of that gateway. Whose they are, the topic says, and never the body."""

from __future__ import annotations

from millpond.events.gateway_jobs import CancelAsked, JobAsked, JobCancelled, JobRequested, cancel_item, request_item
from millpond.events.ids import job_id
from millpond.events.topics import GATEWAY_JOBS
from millpond.stream.decision import Decision, Input, Outgoing, Received


def decide(state: None, received: Input) -> Decision[None]:
    """``received.finding`` is edge's stamp of arrival in Unix milliseconds: the gateway's own clock counts for nothing."""
    assert isinstance(received, Received)  # no timer is ever set
    assert isinstance(received.finding, int)
    gateway, stamp_ms = gateway_of(received.topic), received.finding
    match received.event:
        case JobAsked(id=request_id) as asked:
            job = job_id(gateway, request_id)
            requested = JobRequested(
                job=job,
                gateway=gateway,
                request_id=request_id,
                workload=asked.workload,
                spec=asked.spec,
                deadline_s=asked.deadline_s,
            )
            out = Outgoing(GATEWAY_JOBS, job, requested, stamp_ms, item=request_item(requested))
        case CancelAsked(id=request_id):
            job = job_id(gateway, request_id)
            cancelled = JobCancelled(job=job, gateway=gateway)
            out = Outgoing(GATEWAY_JOBS, job, cancelled, stamp_ms, item=cancel_item(cancelled))
        case other:
            raise AssertionError(f"{received.topic} carries no {type(other).__name__}")
    return Decision(state, (out,))


def fold(state: None, _own: Received) -> Decision[None]:
    """What was carried needs no memory: the reader of ``gateway.jobs.v1`` knows a repeat by its item."""
    return Decision(state)


def gateway_of(topic: str) -> str:
    """The gateway whose ``gateway.<id>.requests.v1`` this is; an id has no dots."""
    return topic.split(".")[1]
