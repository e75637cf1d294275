"""Up to which number of a session all has arrived that had to."""

from __future__ import annotations


class Arrivals:
    """Of one connection. What an agent must deliver it sends in the order of its numbers, what is left from before first:
    so nothing below ``complete_up_to`` is still to come.
    """

    def __init__(self) -> None:
        self._highest = 0
        self._missing: set[int] = set()

    def came(self, sequence: int) -> None:
        """It was heard, and Kafka doesn't have it yet."""
        self._missing.add(sequence)

    def settled(self, sequence: int) -> None:
        """Kafka has it. What is never settled, the numbers don't go beyond."""
        self._missing.discard(sequence)
        self._highest = max(self._highest, sequence)

    @property
    def complete_up_to(self) -> int:
        return min(self._highest, min(self._missing) - 1) if self._missing else self._highest
