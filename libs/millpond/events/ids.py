"""Ids that follow from their cause: whoever computes one again gets the same (uuid5), and no id is spelt in two ways."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID, uuid5

from pydantic import Field, StringConstraints

# Drawn once, for ever.
NAMESPACE: Final = UUID("5f0d9a1c-6f0e-4c39-9a55-0a7f3d1e8b42")

# Lower case, with hyphens, without braces: ids are compared as text.
Uuid = Annotated[
    str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
]
GatewayId = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
# A gateway's own id of a job. Case counts.
RequestId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
# What a machine calls one of its GPUs: NVML's UUID, or "software".
HardwareId = Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")]
Attempt = Annotated[int, Field(strict=True, ge=1, le=1_000)]
Sequence = Annotated[int, Field(strict=True, ge=1, le=2**53)]
# A reason for programs; the sentence beside it is for people.
Reason = Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Sentence = Annotated[str, StringConstraints(strict=True, max_length=2_000)]


def job_id(gateway: str, request_id: str) -> str:
    """The pool's id of what a gateway asked for under its own id."""
    return str(uuid5(NAMESPACE, f"job/{gateway}/{request_id}"))


def gpu_id(device: str, hardware_id: str) -> str:
    """The pool's id of a GPU. Of a device's own GPUs only: who else names the same hardware names another GPU."""
    return str(uuid5(NAMESPACE, f"gpu/{device}/{hardware_id}"))


def lease_id(job: str, attempt: int) -> str:
    """What a device must name in whatever it says about an attempt."""
    return str(uuid5(NAMESPACE, f"lease/{job}/{attempt}"))


def line_id(job: str, attempt: int, window: int) -> str:
    """The usage line of a window of an attempt; a job that is no session has the one window 0."""
    return str(uuid5(NAMESPACE, f"line/{job}/{attempt}/{window}"))


def payout_id(epoch: int, contributor: str, asset: str) -> str:
    """What is paid to a contributor in one asset after an epoch's challenge window: once."""
    return str(uuid5(NAMESPACE, f"payout/{epoch}/{contributor}/{asset}"))


def withdrawal_id(signer: str, nonce: int) -> str:
    """The withdrawal of fees that a signed command asks for."""
    return str(uuid5(NAMESPACE, f"withdrawal/{signer}/{nonce}"))
