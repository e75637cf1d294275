"""Which agents are connected here, and what the topics have for them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from starlette.websockets import WebSocket

from millpond.events.metering_usage import UsageHeld, UsageRecorded
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from millpond.events.topics import AGENT_ENROLMENTS, REGISTRY_MEMBERS
from millpond.stream.decision import Received
from millpond_edge.agents import messages
from millpond_edge.agents.link import REPLACED, RESTARTING, Link
from millpond_edge.agents.rules import Speaker
from millpond_edge.agents.sessions import Sessions
from millpond_edge.door import Door


class Roster:
    """One connection for each device: a newer one takes the place of an older, which may be half dead."""

    def __init__(self, door: Door) -> None:
        self.sessions = Sessions(door.database)
        self._door = door
        self._links: dict[str, Link] = {}
        door.view.listen(self._heard)

    def __len__(self) -> int:
        return len(self._links)

    async def run(self, stopping: asyncio.Event) -> None:
        """Until ``stopping`` is set: then all agents are sent away, to another edge or to this one's next life."""
        keeping = asyncio.create_task(self.sessions.keep(stopping))
        await stopping.wait()
        for link in self._links.values():
            link.end(RESTARTING)
        await keeping

    async def serve(self, socket: WebSocket, speaker: Speaker) -> None:
        """Until the connection ends."""
        last_accepted = await self.sessions.last_accepted(speaker.device, speaker.session)
        link = Link(socket, self._door, speaker, self.sessions)
        # Nothing waits from here to the Welcome: what is assigned later comes behind it, what was before stands in it.
        if (older := self._links.get(speaker.device)) is not None:
            older.end(REPLACED)
        self._links[speaker.device] = link
        try:
            self._welcome(link, last_accepted)
            await link.run()
        finally:
            if self._links.get(speaker.device) is link:
                del self._links[speaker.device]

    def _welcome(self, link: Link, last_accepted: int) -> None:
        now = datetime.fromtimestamp(self._door.clock.now_ms() / 1000, tz=UTC)
        assignments = self._door.jobs.open_assignments(link.device)
        link.say(messages.welcome(time=now, last_accepted=last_accepted, assignments=assignments))
        # Whether an earlier connection has delivered them nobody knows; to the agent a repeat is no news.
        for line in self._door.usage.of_device(link.device):
            link.say(messages.receipt(line.type_name, line.value))
        link.end_unless_it_may_work()
        if self._door.stopping.is_set():
            link.end(RESTARTING)

    def _heard(self, received: Received) -> None:
        if received.topic in (REGISTRY_MEMBERS.name, AGENT_ENROLMENTS.name):
            for link in tuple(self._links.values()):
                if self._door.members.device(link.device).contributor == received.key:
                    link.end_unless_it_may_work()
            return
        match received.event:
            case JobAssigned(device=device) as assigned if device in self._links:
                self._links[device].say(messages.assignment(assigned))
            case AttemptClosed(device=device, outcome="lost") as closed if device in self._links:
                self._links[device].say(messages.cancel(job=closed.job, attempt=closed.attempt, reason=closed.reason))
            case UsageRecorded(device=device) | UsageHeld(device=device) as line if device in self._links:
                self._links[device].say(messages.receipt(line.type_name, received.value))
