"""The agent: hears what edge says, lets the rules decide, and does it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, assert_never

from millpond.events.scheduler_assignments import JobAssigned
from millpond.identity import DeviceKey
from millpond_agent.activity import Activity
from millpond_agent.attempts import Attempts
from millpond_agent.connection import Connection
from millpond_agent.edge_client import EdgeClient
from millpond_agent.errors import NotRegistered, SessionUnwritable
from millpond_agent.heartbeat import Heart
from millpond_agent.messages import Accepted, Assignment, Cancel, Challenge, FromEdge, Receipt, Refused, Welcome
from millpond_agent.receipts import store_receipt
from millpond_agent.rules import Decline, Pass, State, Take, is_final, knocks_again, on_assignment, on_cancel
from millpond_agent.session import Session
from millpond_agent.settings import AgentSettings
from millpond_agent.stations import Station

# What the pool has not acknowledged within 2 s after the last job, it gets at the next start.
ACKNOWLEDGE_LOOKS: Final = 40
ACKNOWLEDGE_LOOK_S: Final = 0.05


class Agent:
    """One machine's work for one pool. ``run`` works until cancelled; ``leave`` finishes meanwhile and says goodbye."""

    def __init__(
        self,
        settings: AgentSettings,
        *,
        key: DeviceKey,
        pool: str,
        session: Session,
        edge: EdgeClient,
        stations: Sequence[Station],
        activity: Activity,
    ) -> None:
        self._settings = settings
        self._device = key.device
        self._pool = pool
        self._session = session
        self._edge = edge
        self._stations = stations
        self._activity = activity
        self._leaving = False
        self._was_welcome = session.was_used
        self._connection = Connection(
            edge.url,
            key=key,
            pool=pool,
            session=session,
            heard=self._hear,
            turned_away=self._turned_away,
            told=self._disconnected,
        )
        self._attempts = Attempts(
            settings.directory / "work",
            stations=stations,
            session=session,
            edge=edge,
            connection=self._connection,
            activity=activity,
        )
        self._heart = Heart(
            settings.heartbeat_s,
            stations=stations,
            session=session,
            connection=self._connection,
            activity=activity,
            state=self._state,
        )

    async def run(self) -> None:
        """Raises ``NotRegistered`` when the pool doesn't let this machine in."""
        tasks = (self._connection.run(), self._heart.run(), self._attempts.report(self._settings.progress_s))
        running = [asyncio.ensure_future(task) for task in tasks]
        try:
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def leave(self, seconds_max: float) -> None:
        """Takes no more jobs, waits for those that run, fails those that take longer; says goodbye if it can."""
        self._leaving = True
        await self._attempts.finish(seconds_max)
        for _ in range(ACKNOWLEDGE_LOOKS):
            if self._session.is_acknowledged or not self._connection.is_open:
                break
            await asyncio.sleep(ACKNOWLEDGE_LOOK_S)
        if self._connection.is_open:
            await self._heart.beat(leaving=True)
            await self._connection.flushed()

    @property
    def jobs_running(self) -> int:
        return len(self._attempts.running)

    def _state(self) -> State:
        slots = {station.gpu.hardware_id: station.gpu.slots for station in self._stations if station.runner.client}
        return State(device=self._device, slots=slots, running=self._attempts.running, leaving=self._leaving)

    def _hear(self, message: FromEdge) -> None:
        try:
            self._act(message)
        except (SessionUnwritable, OSError) as error:
            # Not remembered: edge says it again, or is asked again.
            self._activity.tell_bad(str(error))

    def _act(self, message: FromEdge) -> None:
        match message:
            case Welcome():
                self._welcomed(message)
            case Accepted(sequence=sequence):
                self._session.acknowledge(sequence)
                self._heart.acknowledged(sequence)
            case Refused():
                self._refused(message)
            case Assignment():
                self._assigned(message)
            case Cancel():
                self._cancel(message)
            case Receipt():
                self._receipt(message)
            case Challenge():
                pass  # only a greeting answers one
            case _:
                assert_never(message)

    def _welcomed(self, welcome: Welcome) -> None:
        self._edge.clock_was(welcome.time)
        self._was_welcome = True
        self._activity.connection, self._activity.is_connected = "connected", True
        self._activity.tell(f"Connected to {self._pool}.", "good")
        self._heart.connected()
        for assigned in welcome.assignments:
            self._assigned(assigned)

    def _disconnected(self, sentence: str) -> None:
        self._activity.connection, self._activity.is_connected = "connecting again", False
        self._activity.tell_bad(sentence)

    async def _turned_away(self, refused: Refused) -> None:
        self._activity.is_connected = False
        if not knocks_again(refused.reason, was_welcome=self._was_welcome):
            raise NotRegistered(reason=refused.reason, sentence=refused.sentence, device=self._device)
        waits = refused.reason == "device-waiting"
        self._activity.connection = "waiting for the operator's approval" if waits else "waiting to be let in"
        self._activity.tell(refused.sentence)

    def _refused(self, refused: Refused) -> None:
        if refused.sequence is not None and is_final(refused.reason):
            self._session.drop(refused.sequence)
            self._activity.tell_bad(f"The pool refuses claim {refused.sequence} ({refused.reason}): {refused.sentence}")

    def _assigned(self, assigned: JobAssigned) -> None:
        ended = self._session.has_ended(assigned.lease)
        match on_assignment(self._state(), assigned, ended=ended, now=self._edge.now()):
            case Take():
                self._attempts.begin(assigned)
            case Decline(reason=reason, sentence=sentence):
                self._attempts.decline(assigned, reason, sentence)
            case Pass():
                pass

    def _cancel(self, cancel: Cancel) -> None:
        lease = on_cancel(self._state(), job=cancel.job, attempt=cancel.attempt)
        if lease is not None:
            self._attempts.cancel(lease)
            self._activity.tell(f"Job {cancel.job[:8]}/{cancel.attempt} cancelled by the pool ({cancel.reason}).")

    def _receipt(self, receipt: Receipt) -> None:
        line = receipt.receipt.event
        claim = self._session.claim_of(line.result)
        directory = self._settings.directory / "receipts"
        if not (directory / f"{line.line}.json").exists():
            store_receipt(directory, pool=self._pool, device=self._device, line=line, claim=claim)
        self._session.record_receipt(line)
        self._attempts.count()
