"""What each device's work came to: the last lines of ``metering.usage.v1``, with their receipts."""

from __future__ import annotations

from collections import deque

from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded
from millpond.stream.decision import Received

# A receipt is also on the topic for ever: who was away for longer reads it there.
LINES_PER_DEVICE_MAX = 1_000


class Usage:
    """Receipts that an agent may still be waiting for. A repeat of a line takes its place again."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[UsageLine]] = {}

    def apply(self, received: Received) -> None:
        match received.event:
            case UsageRecorded(device=device) | UsageHeld(device=device) as line:
                self._lines.setdefault(device, deque(maxlen=LINES_PER_DEVICE_MAX)).append(line)

    def of_device(self, device: str) -> tuple[UsageLine, ...]:
        """The device's last lines, oldest first, ``LINES_PER_DEVICE_MAX`` at most."""
        return tuple(self._lines.get(device, ()))
