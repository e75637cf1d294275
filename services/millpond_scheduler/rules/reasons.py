"""Why: the value is for programs, the text for the gateway or the contributor."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Refused(Enum):
    """Why a job is not taken. If several apply, the first is given."""

    CANCELLED = "cancelled", "The gateway took it back before it was taken."
    NO_TERMS = "no-terms", "The pool has published no terms that are in force: nothing says what the job would cost."
    GATEWAY_UNKNOWN = "gateway-unknown", "The pool has not admitted this gateway."
    GATEWAY_SUSPENDED = (
        "gateway-suspended",
        "The gateway is suspended: what it had running is finished, no more is taken.",
    )
    WORKLOAD_NOT_OFFERED = "workload-not-offered", "The terms in force offer no such workload."
    DEADLINE_TOO_LONG = "deadline-too-long", "The terms in force allow deadlines of {allowed} s; this is {asked} s."
    DEADLINE_PASSED = "deadline-passed", "The deadline had passed before the pool could look at the job."
    QUEUE_FULL = "queue-full", "{waiting} jobs wait for a GPU already: try again later, under another id."

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence


class Closed(Enum):
    """Why an attempt was closed, where the device itself did not say why."""

    DONE = "done", "The result is signed, in time, and has every rendition asked for."
    CANCELLED = "cancelled", "The gateway took the job back."
    DEADLINE_PASSED = "deadline-passed", "The job was not done by its deadline."
    OUTPUTS_DIFFER = (
        "outputs-differ",
        "The result's outputs are not the renditions that were asked for, in their order.",
    )
    DEVICE_REMOVED = "device-removed", "The device counts no more, so neither does what it was doing."
    GPU_GONE = "gpu-gone", "The GPU went away with the job unfinished."
    LEASE_ENDED = "lease-ended", "No sign of life of the job came within the lease, nor in the time of grace after it."

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence


class GivenUp(Enum):
    """Why a job that was taken ends undone, where it is not a device's own word about the input."""

    CANCELLED = "cancelled", "The gateway took it back."
    DEADLINE_PASSED = "deadline-passed", "It was not done by its deadline."
    NO_GPU_FREE = "no-gpu-free", "No GPU was free for it before its deadline."
    TRIED_TOO_OFTEN = "tried-too-often", "All {attempts} attempts that the terms allow were lost."

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason, self.sentence = reason, sentence


# A device's own words that blame the input: it fails as well elsewhere (the runner's README).
INPUT_AT_FAULT: Final = frozenset({"bad-input", "too-large"})

# What says nothing against the GPU: it rests after everything else.
NOT_THE_GPUS_FAULT: Final = INPUT_AT_FAULT | {
    Closed.CANCELLED.reason,
    Closed.DEADLINE_PASSED.reason,
    Closed.GPU_GONE.reason,
    Closed.DEVICE_REMOVED.reason,
}
