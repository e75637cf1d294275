"""``registry.capacity.v1``: what the orchestrator advertises. Key: the capability."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millpond.events.event import Event
from millpond.events.fields import Instant

Count = Annotated[int, Field(strict=True, ge=0)]


class CapacityChanged(Event):
    """How much of a capability (workload, with the model where it has one) the GPUs that answer offer together."""

    capability: Annotated[str, Field(max_length=128)]
    gpus: Count
    slots: Count
    as_of: Instant
