"""What each device's work came to: the last lines of ``metering.usage.v1``, with their receipts."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.stream.decision import Received

# What a connection that breaks may have swallowed, with a wide margin. A receipt is also on the topic for ever: who was
# away for longer reads it there.
LINES_PER_DEVICE_MAX = 100


class CountersignedLine(NamedTuple):
    """A line as it stands on the topic."""

    type_name: str
    value: bytes


class Usage:
    """Receipts that an agent may still be waiting for."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[CountersignedLine]] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case UsageRecorded(device=device) | UsageHeld(device=device) as line:
                lines = self._lines.setdefault(device, deque(maxlen=LINES_PER_DEVICE_MAX))
                lines.append(CountersignedLine(line.type_name, received.value))

    def of_device(self, device: str) -> tuple[CountersignedLine, ...]:
        """The device's last lines, oldest first, ``LINES_PER_DEVICE_MAX`` at most."""
        return tuple(self._lines.get(device, ()))
