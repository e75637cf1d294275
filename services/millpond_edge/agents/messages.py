"""What goes over ``/agents``, as JSON texts. A type that an agent doesn't know is passed over there.

``Challenge`` → ``Hello`` → ``Welcome`` (or ``Refused``, and the connection is closed). Then the agent sends claims; each is
answered with ``Accepted`` or ``Refused``. Edge sends ``Assignment``, ``Cancel`` and ``Receipt`` when there are any.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import to_json

from millpond.events.agent_claims import PAYLOAD_CHARACTERS_MAX
from millpond.events.agent_enrolments import DeviceSignature
from millpond.events.fields import Hash32, to_rfc3339
from millpond.events.ids import Uuid
from millpond.events.scheduler_assignments import JobAssigned

# A payload may have a few quotes to be escaped, or many; what is longer is no claim.
MESSAGE_BYTES_MAX: Final = 1_048_576


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Hello(_Message):
    """Who greets. ``signature``: of kind ``Hello``, over ``<nonce> <session>``."""

    type: Literal["Hello"]
    device: Hash32
    session: Uuid
    signature: DeviceSignature


class Said(_Message):
    """A claim. ``payload`` is the very text that was signed, of the kind ``type``."""

    type: Annotated[str, StringConstraints(strict=True, max_length=64)]
    payload: Annotated[str, Field(strict=True, max_length=PAYLOAD_CHARACTERS_MAX)]
    signature: Annotated[str, Field(strict=True, max_length=256)]


def challenge(nonce: str) -> str:
    return f'{{"type":"Challenge","nonce":"{nonce}"}}'


def welcome(*, time: datetime, last_accepted: int, assignments: Sequence[JobAssigned]) -> str:
    """``last_accepted``: of this session, no claim up to this number need be sent again; there may be later ones, too."""
    open_ones = [assigned.model_dump(mode="json") for assigned in assignments]
    return _text(type="Welcome", time=to_rfc3339(time), last_accepted=last_accepted, assignments=open_ones)


def accepted(sequence: int) -> str:
    """Kafka has the claim."""
    return f'{{"type":"Accepted","sequence":{sequence}}}'


def refused(reason: str, sentence: str, sequence: int | None = None) -> str:
    """Without ``sequence``: the connection is refused, and closed."""
    return _text(type="Refused", sequence=sequence, reason=reason, sentence=sentence)


def assignment(assigned: JobAssigned) -> str:
    return _text(type="Assignment", **assigned.model_dump(mode="json"))


def cancel(*, job: str, attempt: int, reason: str) -> str:
    return _text(type="Cancel", job=job, attempt=attempt, reason=reason)


def receipt(type_name: str, event: bytes) -> str:
    """``event`` as it stands on the topic."""
    return f'{{"type":"Receipt","receipt":{{"type":"{type_name}","event":{event.decode()}}}}}'


def _text(**fields: Any) -> str:
    return to_json(fields).decode()
