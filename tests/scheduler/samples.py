"""What the others say, with only the fields that a test cares about; and who they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from millpond.events.agent_claims import JobFailed, JobProgress, JobStarted, JobSucceeded
from millpond.events.device_claims import Gpu, Output
from millpond.events.event import Event
from millpond.events.gateway_jobs import JobCancelled, JobRequested
from millpond.events.ids import gpu_id, job_id
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_gateways import GatewayAdmitted, GatewaySuspended
from millpond.events.registry_gpus import GpuDraining, GpuGone, GpuOnline, GpuSuspect
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorSuspended,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.events.scheduler_assignments import JobAssigned
from millpond.identity import DeviceKey
from millpond.terms.terms import canonical, terms_hash
from millpond.terms.terms_file import read_terms_file
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import Rendition, TranscodeSpec

POOL = "pond"
START_MS = 1_767_323_045_000
SPEC = TranscodeSpec(
    source=Blob(hash="0x" + "aa" * 32, size_bytes=1_000),
    renditions=(
        Rendition(name="360p", width=640, height=360, bitrate_kbps=800),
        Rendition(name="240p", width=426, height=240, bitrate_kbps=300),
    ),
)
TERMS_FILE = Path(__file__).parents[2] / "services" / "millpond_demo" / "terms.yaml"
# Of the work's terms in these tests.
LEASE_S, GRACE_S, ATTEMPTS_MAX, DEADLINE_S_MAX = 10, 2, 3, 600
# The whole of a lease without a sign of life, and a little more.
LOST_S = LEASE_S + GRACE_S + 0.5


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, tz=UTC)


FAR = at(START_MS + 10**12)


@lru_cache(maxsize=1_024)
def key(device: str) -> DeviceKey:
    return DeviceKey(hashlib.sha256(device.encode()).digest())


def address(contributor: str) -> str:
    return "0x" + hashlib.sha256(contributor.encode()).hexdigest()[:40]


def job(name: str, gateway: str = "acme") -> str:
    return job_id(gateway, name)


def gpu(name: str) -> str:
    """GPU ``g1`` is the only one of device ``d-g1``, of contributor ``c-g1`` unless a test says another."""
    return gpu_id(key(f"d-{name}").device, "software")


def terms(version: int = 1, effective_from_epoch: int = 0, **work: Any) -> TermsPublished:
    document = read_terms_file(TERMS_FILE)
    wanted = {
        "lease_s": LEASE_S,
        "lease_grace_s": GRACE_S,
        "attempts_max": ATTEMPTS_MAX,
        "deadline_s_max": DEADLINE_S_MAX,
    }
    published = document.model_copy(
        update={
            "version": version,
            "effective_from_epoch": effective_from_epoch,
            "work": document.work.model_copy(update={**wanted, **work}),
        }
    )
    text = canonical(published)
    return TermsPublished(
        version=version,
        effective_from_epoch=effective_from_epoch,
        terms_hash=terms_hash(text),
        document=text,
        signer=address("operator"),
        nonce=version,
        signature="0x00",
    )


def gateway(name: str = "acme") -> GatewayAdmitted:
    return GatewayAdmitted(gateway=name, key_hash="0x" + "00" * 32, expires_at=FAR)


def suspended(name: str = "acme") -> GatewaySuspended:
    return GatewaySuspended(gateway=name, sentence="")


def device(name: str, contributor: str | None = None, expires_ms: int | None = None) -> DeviceRegistered:
    return DeviceRegistered(
        contributor=address(contributor or f"c-{name}"),
        device=key(f"d-{name}").device,
        delegation="0x" + "de" * 32,
        scope="work",
        expires_at=FAR if expires_ms is None else at(expires_ms),
    )


def device_removed(name: str, contributor: str | None = None) -> DeviceRemoved:
    return DeviceRemoved(
        contributor=address(contributor or f"c-{name}"), device=key(f"d-{name}").device, reason="revoked", sentence=""
    )


def online(name: str, contributor: str | None = None, slots: int = 1) -> GpuOnline:
    hardware = Gpu(hardware_id="software", kind="software", model="a processor", slots=slots, workloads=("transcode",))
    return GpuOnline(**_gpu(name, contributor), hardware=hardware)


def suspect(name: str, contributor: str | None = None) -> GpuSuspect:
    return GpuSuspect(**_gpu(name, contributor), reason="silent", sentence="")


def draining(name: str, contributor: str | None = None) -> GpuDraining:
    return GpuDraining(**_gpu(name, contributor), reason="leaves", sentence="")


def gone(name: str, contributor: str | None = None, as_of_ms: int = START_MS) -> GpuGone:
    return GpuGone(**{**_gpu(name, contributor), "as_of": at(as_of_ms)}, reason="silent", sentence="")


def joined(name: str, contributor: str | None = None, slots: int = 1) -> tuple[Event, ...]:
    """A device with its one GPU."""
    return (device(name, contributor), online(name, contributor, slots))


def contributor_suspended(name: str) -> ContributorSuspended:
    return ContributorSuspended(contributor=address(name), reason="fraud", sentence="")


def contributor_admitted(name: str) -> ContributorAdmitted:
    return ContributorAdmitted(contributor=address(name), policy="open")


def requested(name: str, gateway: str = "acme", deadline_s: int = 60) -> JobRequested:
    return JobRequested(
        job=job(name, gateway),
        gateway=gateway,
        request_id=name,
        workload="transcode",
        spec=SPEC,
        deadline_s=deadline_s,
    )


def cancelled(name: str, gateway: str = "acme") -> JobCancelled:
    return JobCancelled(job=job(name), gateway=gateway)


def started(assigned: JobAssigned, by: str) -> JobStarted:
    return _claim(JobStarted, assigned, by)


def progress(assigned: JobAssigned, by: str) -> JobProgress:
    return _claim(JobProgress, assigned, by, frames=1)


def succeeded(assigned: JobAssigned, by: str, renditions: Sequence[str] = ("360p", "240p")) -> JobSucceeded:
    outputs = tuple(
        Output(rendition=name, blob=Blob(hash="0x" + "bb" * 32, size_bytes=10), frames=1, pixels=2).model_dump()
        for name in renditions
    )
    return _claim(JobSucceeded, assigned, by, outputs=outputs)


def failed(assigned: JobAssigned, by: str, reason: str = "crashed") -> JobFailed:
    return _claim(JobFailed, assigned, by, reason=reason, sentence="It says why.")


def _gpu(name: str, contributor: str | None) -> dict[str, Any]:
    device = key(f"d-{name}").device
    return {
        "gpu": gpu_id(device, "software"),
        "device": device,
        "contributor": address(contributor or f"c-{name}"),
        "as_of": at(START_MS),
    }


def _claim(kind: Any, assigned: JobAssigned, by: str, **fields: Any) -> Any:
    """Signed by the device of the GPU ``by``; its session is one per device, its sequence one per text."""
    claim = {
        "session": str(uuid5(NAMESPACE_OID, by)),
        "sequence": 1 + int(hashlib.sha256(f"{kind}{assigned.lease}".encode()).hexdigest()[:8], 16),
        "time": at(START_MS),
        "job": assigned.job,
        "attempt": assigned.attempt,
        "lease": assigned.lease,
        **fields,
    }
    text = kind.claim_type(**claim).model_dump_json()
    signer = key(f"d-{by}")
    return kind(device=signer.device, payload=text, signature=signer.sign(pool=POOL, kind=kind.type_name, text=text))
