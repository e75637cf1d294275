"""What edge says to an agent. A type that this version doesn't know is passed over."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from millpond.events.fields import Instant
from millpond.events.ids import Attempt, Reason, Sentence, Sequence, Uuid
from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import JobAssigned


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Challenge(_Message):
    """To be signed: a greeting that was recorded elsewhere opens nothing."""

    type: Literal["Challenge"]
    nonce: Annotated[str, StringConstraints(strict=True, pattern=r"^0x[0-9a-f]{32,128}$")]


class Welcome(_Message):
    """``time`` is edge's clock; ``assignments`` are the device's open ones."""

    type: Literal["Welcome"]
    time: Instant
    last_accepted: Annotated[int, Field(ge=0)] = 0
    assignments: tuple[JobAssigned, ...] = ()


class Accepted(_Message):
    """Kafka has the claim."""

    type: Literal["Accepted"]
    sequence: Sequence


class Refused(_Message):
    """A claim was not taken; without ``sequence``: the connection."""

    type: Literal["Refused"]
    sequence: Sequence | None = None
    reason: Reason
    sentence: Sentence


class Assignment(JobAssigned):
    """A job for one of this device's GPUs; perhaps not for the first time."""

    type: Literal["Assignment"]


class Cancel(_Message):
    """Nobody wants the attempt's outputs any more."""

    type: Literal["Cancel"]
    job: Uuid
    attempt: Attempt
    reason: Reason


class CountersignedLine(_Message):
    """A usage line with the pool's countersignature."""

    type: Literal["UsageRecorded", "UsageHeld"]
    event: UsageRecorded | UsageHeld


class Receipt(_Message):
    """What the pool counted of a result of this device."""

    type: Literal["Receipt"]
    receipt: CountersignedLine


FromEdge = Challenge | Welcome | Accepted | Refused | Assignment | Cancel | Receipt
FROM_EDGE: Final[TypeAdapter[FromEdge]] = TypeAdapter(Annotated[FromEdge, Field(discriminator="type")])
