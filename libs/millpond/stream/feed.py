"""The port through which a process reads: records by partition as they come, and the means to go back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from millpond.errors import MillpondError
from millpond.stream.position import Extent
from millpond.stream.record import Place, Record


class LogAway(MillpondError):
    """Kafka doesn't answer: {cause}. The process waits, and goes on when it is back."""


class Feed(Protocol):
    """Records of the partitions that this process reads now. Not safe for several tasks at once."""

    async def poll(self, timeout_s: float) -> Mapping[Place, Sequence[Record]]:
        """What has come, in order within each place; nothing after ``timeout_s``. Raises ``LogAway``."""
        ...

    def assigned(self) -> frozenset[Place]:
        """The places that are this process's to read now."""
        ...

    def on_reassignment(self, forget: Callable[[], None]) -> None:
        """``forget`` is called whenever places are taken or given: what was cached of them may be old."""
        ...

    async def extents(self, places: Collection[Place]) -> dict[Place, Extent]:
        """What the log holds of these places. Raises ``LogAway``."""
        ...

    async def fetched_up_to(self, place: Place) -> int:
        """The offset to be fetched next: past control records, too, which are never delivered. Raises ``LogAway``."""
        ...

    def seek(self, place: Place, offset: int) -> None:
        """The next poll starts there. Nothing happens if the place isn't ours any more."""
        ...

    def pause(self, place: Place) -> None: ...

    def resume(self, place: Place) -> None: ...
