"""``/jobs``: asking for work, looking at it, taking it back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from millpond.events.gateway_jobs import JobCancelled, JobRequested, cancel_item, request_item
from millpond.events.ids import job_id
from millpond.events.topics import GATEWAY_JOBS
from millpond.stream.source import Observed
from millpond_edge.credentials.gateways import Gateway
from millpond_edge.door import Door, OpenDoor
from millpond_edge.gateways.bodies import ErrorShown, JobAsked, JobShown, JobTaken
from millpond_edge.gateways.errors import NoSuchJob, RequestDiffers, SourceMissing, SourceSizeDiffers
from millpond_edge.view.jobs import Job

REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorShown} for status in (401, 403, 404, 409, 422, 429, 503)
}

router = APIRouter(prefix="/jobs", tags=["jobs"], responses=REFUSALS)


@router.post("", status_code=202)
async def post_job(asked: JobAsked, gateway: Gateway, door: OpenDoor) -> JobTaken:
    """Asks for a job; answered once Kafka has the request. Whether it is taken is decided behind that: see its state.

    The source's blob must be in the store. The same id with the same content gives the same answer, and one job.
    """
    arrived_ms = door.clock.now_ms()
    event = JobRequested(
        job=job_id(gateway, asked.id),
        gateway=gateway,
        request_id=asked.id,
        workload=asked.workload,
        spec=asked.spec,
        deadline_s=asked.deadline_s,
    )
    known = door.jobs.request(event.job)
    if known is not None:
        _require_same(known, event)
        return JobTaken(job=event.job)
    await _require_source(door, event)
    await door.source.publish([Observed(GATEWAY_JOBS, event.job, event, request_item(event), arrived_ms)])
    # Its state can be asked for from now on, before our own reading of the topic has come so far.
    door.jobs.note(event)
    return JobTaken(job=event.job)


@router.get("/{job}")
async def get_job(job: str, gateway: Gateway, door: OpenDoor) -> JobShown:
    """The job as it stands."""
    return JobShown.of(_own_job(door, job, gateway))


@router.delete("/{job}", status_code=202)
async def delete_job(job: str, gateway: Gateway, door: OpenDoor) -> JobTaken:
    """Asks for the job's cancellation; answered once Kafka has it. What was done before counts, and is paid."""
    arrived_ms = door.clock.now_ms()
    _own_job(door, job, gateway)
    event = JobCancelled(job=job, gateway=gateway)
    await door.source.publish([Observed(GATEWAY_JOBS, job, event, cancel_item(event), arrived_ms)])
    return JobTaken(job=job)


def _own_job(door: Door, job: str, gateway: str) -> Job:
    found = door.jobs.job(job, gateway)
    if found is None:
        raise NoSuchJob(job=job, gateway=gateway)
    return found


def _require_same(known: JobRequested, event: JobRequested) -> None:
    before, now = known.model_dump(mode="json"), event.model_dump(mode="json")
    for field in ("workload", "spec", "deadline_s"):
        if before[field] != now[field]:
            facts = {"field": field, "before": before[field], "now": now[field]}
            raise RequestDiffers(request_id=event.request_id, gateway=event.gateway, **facts)


async def _require_source(door: Door, event: JobRequested) -> None:
    blob = event.spec.source
    stored = await door.blobs.size_bytes(blob.hash)
    if stored is None:
        raise SourceMissing(hash=blob.hash)
    if stored != blob.size_bytes:
        raise SourceSizeDiffers(hash=blob.hash, given=blob.size_bytes, stored=stored)
