"""What gateways send and get, as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from millpond.events.gateway_jobs import DeadlineS
from millpond.events.ids import RequestId
from millpond.workloads.blob import Blob
from millpond.workloads.transcode import TranscodeSpec
from millpond_edge.view.jobs import Job, JobState


class JobAsked(BaseModel):
    """``id`` is the gateway's own: posted again with the same, it is the same job. ``deadline_s`` counts from arrival."""

    # What edge would pass over in silence may be what the gateway means: here a misspelt field is refused.
    model_config = ConfigDict(frozen=True, extra="forbid")

    id: RequestId
    workload: Literal["transcode"]
    spec: TranscodeSpec
    deadline_s: DeadlineS = 60


class JobTaken(BaseModel):
    """Kafka has the request. ``job`` is the pool's id."""

    job: str


class JobOutput(BaseModel):
    """One rendition, to be had at ``GET /blobs/{hash}``."""

    rendition: str
    blob: Blob


class JobShown(BaseModel):
    """A job as it stands. ``reason`` and ``sentence``: why it came to nothing, or why its last attempt was lost."""

    job: str
    id: str
    state: JobState
    attempts: int
    reason: str | None
    sentence: str | None
    outputs: list[JobOutput]

    @classmethod
    def of(cls, job: Job) -> JobShown:
        return cls(
            job=job.job,
            id=job.request_id,
            state=job.state,
            attempts=job.attempts,
            reason=job.reason,
            sentence=job.sentence,
            outputs=[JobOutput(rendition=output.rendition, blob=output.blob) for output in job.outputs],
        )


class BlobStored(BaseModel):
    """The store has these bytes."""

    hash: str
    size_bytes: int


class ErrorWhy(BaseModel):
    """A reason for programs, a sentence for people."""

    reason: str
    sentence: str


class ErrorShown(BaseModel):
    """What every refusal says."""

    error: ErrorWhy
