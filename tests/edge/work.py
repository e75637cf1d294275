"""What the scheduler and metering say of a job, as they write it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge.pool import CONTRIBUTOR, PoolLog
from millpond.events.ids import gpu_id, job_id, lease_id, line_id
from millpond.events.metering_usage import UsageRecorded
from millpond.events.scheduler_assignments import AgreedPrice, AttemptClosed, JobAccepted, JobAssigned, JobFinished
from millpond.events.topics import METERING_USAGE, SCHEDULER_ASSIGNMENTS
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec

HASH = "0x" + "ab" * 32
PRICE = AgreedPrice(unit="pixel", wei=1, per_units=1_000)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def spec(source: str = HASH, size_bytes: int = 7) -> TranscodeSpec:
    rendition = Rendition(name="360p", width=640, height=360, bitrate_kbps=800)
    return TranscodeSpec(source=Blob(hash=source, size_bytes=size_bytes), renditions=(rendition,))


def accept(log: PoolLog, request_id: str = "a", *, gateway: str = "acme", source: str = HASH) -> str:
    """The job."""
    job = job_id(gateway, request_id)
    event = JobAccepted(
        job=job,
        gateway=gateway,
        request_id=request_id,
        workload="transcode",
        spec=spec(source),
        price=PRICE,
        terms_hash=HASH,
        deadline_at=now() + timedelta(minutes=1),
        as_of=now(),
    )
    log.say(SCHEDULER_ASSIGNMENTS, job, event)
    return job


def assign(log: PoolLog, job: str, device: str, *, attempt: int = 1, source: str = HASH) -> JobAssigned:
    event = JobAssigned(
        job=job,
        attempt=attempt,
        lease=lease_id(job, attempt),
        lease_until=now() + timedelta(seconds=15),
        gpu=gpu_id(device, "software"),
        hardware_id="software",
        device=device,
        contributor=CONTRIBUTOR,
        delegation=HASH,
        workload="transcode",
        spec=spec(source),
        deadline_at=now() + timedelta(minutes=1),
        candidates=(),
        as_of=now(),
    )
    log.say(SCHEDULER_ASSIGNMENTS, job, event)
    return event


def close(log: PoolLog, assigned: JobAssigned, *, lost: bool) -> AttemptClosed:
    event = AttemptClosed(
        job=assigned.job,
        attempt=assigned.attempt,
        lease=assigned.lease,
        gpu=assigned.gpu,
        device=assigned.device,
        contributor=assigned.contributor,
        outcome="lost" if lost else "kept",
        reason="lease-ended" if lost else "first-result",
        sentence="It is closed.",
        result=None if lost else HASH,
        as_of=now(),
    )
    log.say(SCHEDULER_ASSIGNMENTS, assigned.job, event)
    return event


def finish(log: PoolLog, assigned: JobAssigned, *, gateway: str = "acme") -> None:
    event = JobFinished(job=assigned.job, gateway=gateway, attempt=assigned.attempt, outputs=(), as_of=now())
    log.say(SCHEDULER_ASSIGNMENTS, assigned.job, event)


def record_usage(log: PoolLog, assigned: JobAssigned, *, gateway: str = "acme") -> UsageRecorded:
    event = UsageRecorded(
        line=line_id(assigned.job, assigned.attempt, 0),
        job=assigned.job,
        attempt=assigned.attempt,
        window=0,
        contributor=assigned.contributor,
        device=assigned.device,
        gpu=assigned.gpu,
        gateway=gateway,
        workload="transcode",
        unit="pixel",
        quantity=5,
        claimed=5,
        counted=5,
        price=PRICE,
        terms_hash=HASH,
        result=HASH,
        sources=(),
        receipt="0x" + "44" * 64,
    )
    log.say(METERING_USAGE, assigned.contributor, event)
    return event
