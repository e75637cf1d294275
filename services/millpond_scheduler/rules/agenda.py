"""What is to be looked at when: ids by time."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

# Entries that were put off stay behind; beyond this many beside those that count, they are swept out.
STALE_MAX = 1_000


class Agenda:
    """Each id has one time (Unix milliseconds) or none. ``take_due`` is ordered by time, then id."""

    def __init__(self) -> None:
        self._at_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._at_ms)

    def put(self, id_: str, at_ms: int) -> None:
        """In place of the time it had."""
        if self._at_ms.get(id_) == at_ms:
            return
        self._at_ms[id_] = at_ms
        heappush(self._heap, (at_ms, id_))
        if len(self._heap) > 2 * len(self._at_ms) + STALE_MAX:
            self._heap = [(at, each) for each, at in self._at_ms.items()]
            heapify(self._heap)

    def drop(self, id_: str) -> None:
        self._at_ms.pop(id_, None)

    def earliest_ms(self) -> int | None:
        while self._heap and self._at_ms.get(self._heap[0][1]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int) -> list[str]:
        """Takes off all whose time has come."""
        due = []
        while (at_ms := self.earliest_ms()) is not None and at_ms <= now_ms:
            _, id_ = heappop(self._heap)
            del self._at_ms[id_]
            due.append(id_)
        return due
