"""The signs of life: that the machine is there, which GPUs it has, and how busy they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from millpond.events.agent_claims import Heartbeat
from millpond.events.device_claims import Gpu
from millpond_agent.activity import Activity
from millpond_agent.connection import Connection
from millpond_agent.errors import SessionUnwritable
from millpond_agent.loads import loads
from millpond_agent.rules import State, inventory_is_due
from millpond_agent.session import Session
from millpond_agent.stations import Station

VERSION: Final = version("millpond")


class Heart:
    """Beats every ``every_s``, and at once when the connection is new."""

    def __init__(
        self,
        every_s: float,
        *,
        stations: Sequence[Station],
        session: Session,
        connection: Connection,
        activity: Activity,
        state: Callable[[], State],
    ) -> None:
        self._every_s = every_s
        self._stations = stations
        self._session = session
        self._connection = connection
        self._activity = activity
        self._state = state
        self._at_once = asyncio.Event()
        # What the pool was last told of the GPUs, under which number, and when it said that it knows.
        self._told: tuple[Gpu, ...] | None = None
        self._told_sequence: int | None = None
        self._told_at: datetime | None = None

    async def run(self) -> None:
        while True:
            await self.beat(leaving=False)
            try:
                await asyncio.wait_for(self._at_once.wait(), self._every_s)
            except TimeoutError:
                continue
            self._at_once.clear()

    def connected(self) -> None:
        """The pool may have forgotten: it is told everything, now."""
        self._told_at = None
        self._at_once.set()

    def acknowledged(self, sequence: int) -> None:
        if sequence == self._told_sequence:
            self._told_at = datetime.now(UTC)

    async def beat(self, *, leaving: bool) -> None:
        """Looks at the GPUs, and tells the pool if there is a connection."""
        there = [station for station in self._stations if station.runner.client is not None]
        read = await loads(there, self._state())
        self._activity.loads = {load.hardware_id: load for load in read}
        if not self._connection.is_open:
            return
        inventory = tuple(station.gpu for station in there)
        due = inventory_is_due(told_at=self._told_at, changed=inventory != self._told, now=datetime.now(UTC))
        said = inventory if due else None
        try:
            claim = self._session.sign(Heartbeat, loads=read, inventory=said, leaving=leaving, version=VERSION)
        except SessionUnwritable as error:
            self._activity.tell_bad(str(error))
            return
        if due:
            self._told, self._told_sequence, self._told_at = inventory, claim.sequence, None
        self._connection.send(claim)
