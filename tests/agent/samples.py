"""What an edge would send: assignments and receipts, made from as little as a test has to say."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from millpond.events.ids import gpu_id, job_id, lease_id, line_id
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import AgreedPrice, Candidate, JobAssigned
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec

CONTRIBUTOR = "0x5AEDA56215b167893e80B4fE645BA6d5Bab767DE"
DEVICE = "0x" + "11" * 32
RENDITIONS = (
    Rendition(name="240p", width=426, height=240, bitrate_kbps=300),
    Rendition(name="360p", width=640, height=360, bitrate_kbps=800),
)


def milliseconds(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def blob(content: bytes) -> Blob:
    return Blob(hash="0x" + hashlib.sha256(content).hexdigest(), size_bytes=len(content))


def assigned(
    name: str = "a",
    *,
    content: bytes = b"segment",
    device: str = DEVICE,
    attempt: int = 1,
    hardware_id: str = "software",
    deadline_s: float = 60,
    renditions: tuple[Rendition, ...] = RENDITIONS,
    now: datetime | None = None,
) -> JobAssigned:
    now = milliseconds(now or datetime.now(UTC))
    job = job_id("gateway", name)
    gpu = gpu_id(device, hardware_id)
    return JobAssigned(
        job=job,
        attempt=attempt,
        lease=lease_id(job, attempt),
        lease_until=now + timedelta(seconds=15),
        gpu=gpu,
        hardware_id=hardware_id,
        device=device,
        contributor=CONTRIBUTOR,
        delegation="0x" + "22" * 32,
        workload="transcode",
        spec=TranscodeSpec(source=blob(content), renditions=renditions),
        deadline_at=milliseconds(now + timedelta(seconds=deadline_s)),
        candidates=(Candidate(gpu=gpu, score=0, slots_free=1),),
        as_of=now,
    )


def recorded(of: JobAssigned, *, result: str, quantity: int = 1_000, wei: int = 3, per_units: int = 7) -> UsageRecorded:
    return UsageRecorded(**_line(of, result, quantity, wei, per_units))


def held(of: JobAssigned, *, result: str, quantity: int = 1_000, wei: int = 3, per_units: int = 7) -> UsageHeld:
    fields = _line(of, result, quantity, wei, per_units)
    return UsageHeld(reason="count-differs", sentence="The pool counted less.", **fields)


def _line(of: JobAssigned, result: str, quantity: int, wei: int, per_units: int) -> dict[str, Any]:
    return {
        "line": line_id(of.job, of.attempt, 0),
        "job": of.job,
        "attempt": of.attempt,
        "window": 0,
        "contributor": of.contributor,
        "device": of.device,
        "gpu": of.gpu,
        "gateway": "gateway",
        "workload": "transcode",
        "unit": "pixel",
        "quantity": quantity,
        "claimed": quantity,
        "counted": quantity,
        "price": AgreedPrice(unit="pixel", wei=wei, per_units=per_units),
        "terms_hash": "0x" + "33" * 32,
        "result": result,
        "sources": (),
        "receipt": "0x" + "44" * 64,
    }
