"""One agent's connection, from Welcome to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog
from starlette.websockets import WebSocket, WebSocketDisconnect

from millpond.errors import MillpondError
from millpond.events.agent_claims import JobProgress, JobStarted
from millpond.events.topics import AGENT_RESULTS
from millpond_edge.agents import messages
from millpond_edge.agents.arrivals import Arrivals
from millpond_edge.agents.lanes import Lanes, Passenger
from millpond_edge.agents.rules import Carry, Refuse, Speaker, hear
from millpond_edge.agents.sessions import Sessions
from millpond_edge.credentials.errors import RateExceeded
from millpond_edge.door import Door

# An agent that doesn't read for so many messages is better off with a new connection: Welcome says what is open.
OUTGOING_MAX: Final = 2_000
# How long a last word may take to reach an agent that reads slowly.
GOODBYE_S: Final = 2.0

# WebSocket close codes: RFC 6455 and the IANA registry up to 1015, ours from 4000 on.
RESTARTING: Final = 1012
TRY_AGAIN: Final = 1013
FAILED: Final = 1011
MALFORMED: Final = 4400
REFUSED: Final = 4401
REPLACED: Final = 4409

log = structlog.get_logger(__name__)


class Link:
    """Hears claims, in order, and says what there is to say. ``say`` and ``end`` neither wait nor raise."""

    def __init__(self, socket: WebSocket, door: Door, speaker: Speaker, sessions: Sessions) -> None:
        self.device = speaker.device
        self._socket = socket
        self._door = door
        self._speaker = speaker
        self._sessions = sessions
        self._outgoing: deque[str] = deque()
        self._news = asyncio.Event()
        self._closing: int | None = None
        self._over = asyncio.Event()
        self._arrivals = Arrivals()
        self._lanes = Lanes(door.source, arrived=self._arrived, stranded=self._stranded)

    def say(self, text: str) -> None:
        if self._closing is not None:
            return
        if len(self._outgoing) >= OUTGOING_MAX:
            log.warning("agent_reads_too_slowly", device=self.device)
            self._outgoing.clear()
            self.end(TRY_AGAIN)
            return
        self._outgoing.append(text)
        self._news.set()

    def end(self, code: int) -> None:
        """What was said before still goes out, if that is quick; nothing is heard any more."""
        if self._closing is None:
            self._closing = code
            self._news.set()
            asyncio.get_running_loop().call_later(GOODBYE_S, self._over.set)

    def end_unless_it_may_work(self) -> None:
        """Asks the registry's word anew."""
        refused = self._door.members.why_not(self.device, self._door.clock.now_ms())
        if refused is not None:
            self.say(messages.refused(*refused))
            self.end(REFUSED)

    async def run(self) -> None:
        """Until either side ends it, and all that was heard is on Kafka or is not."""
        tasks = [asyncio.create_task(work) for work in (self._read(), self._write(), self._over.wait())]
        reading, _, over = tasks
        try:
            await asyncio.wait({reading, over}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._closing = self._closing or FAILED
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for failure in outcomes:
            if isinstance(failure, Exception) and not isinstance(failure, WebSocketDisconnect):
                log.error("agent_connection_failed", device=self.device, cause=repr(failure), exc_info=failure)
        await self._lanes.empty()

    async def _read(self) -> None:
        while (message := await self._socket.receive())["type"] == "websocket.receive":
            if self._closing is not None:
                continue
            text = message.get("text")
            if text is None:
                self._refuse(Refuse("message-malformed", "The message is binary. Send JSON as text."))
            else:
                await self._hear(text)

    async def _hear(self, text: str) -> None:
        stamp_ms = self._door.clock.now_ms()
        self.end_unless_it_may_work()
        if self._closing is not None:
            return
        match hear(text, self._speaker):
            case Refuse() as refuse:
                self._refuse(refuse)
            case Carry() as carry:
                await self._within_limits()
                if carry.topic is AGENT_RESULTS:
                    self._arrivals.came(carry.claim.sequence)
                await self._lanes.put(Passenger(carry, stamp_ms))
                self._cancel_if_over(carry)

    async def _within_limits(self) -> None:
        """One that says too much is heard more slowly: a refusal in the middle would break the order of its claims."""
        while True:
            try:
                self._door.limits.take(self.device)
            except RateExceeded as exceeded:
                await asyncio.sleep(exceeded.wait_s)
            else:
                return

    def _cancel_if_over(self, carry: Carry) -> None:
        """An agent that was away when its attempt was closed goes on in vain."""
        if isinstance(carry.event, JobStarted | JobProgress):
            claim = carry.event.claim
            if self._door.jobs.is_over(claim.job, claim.attempt):
                self.say(messages.cancel(job=claim.job, attempt=claim.attempt, reason="attempt-closed"))

    def _refuse(self, refuse: Refuse) -> None:
        self.say(messages.refused(refuse.reason, refuse.sentence, refuse.sequence))
        if refuse.sequence is None:
            self.end(MALFORMED)

    def _arrived(self, batch: Sequence[Passenger]) -> None:
        for each in batch:
            sequence = each.carry.claim.sequence
            if each.carry.topic is AGENT_RESULTS:
                self._arrivals.settled(sequence)
            self.say(messages.accepted(sequence))
        if batch[0].carry.topic is AGENT_RESULTS and (up_to := self._arrivals.complete_up_to):
            self._sessions.accepted(self.device, self._speaker.session, up_to)

    def _stranded(self, batch: Sequence[Passenger], failure: MillpondError) -> None:
        for each in batch:
            self.say(messages.refused("not-acknowledged", str(failure), each.carry.claim.sequence))
        if batch[0].carry.topic is AGENT_RESULTS:
            # What comes behind must not overtake it: the agent begins again with what is left, perhaps at another edge.
            self.end(TRY_AGAIN)

    async def _write(self) -> None:
        with suppress(WebSocketDisconnect):
            while True:
                while self._outgoing:
                    await self._socket.send_text(self._outgoing.popleft())
                    # Sending doesn't wait as long as there is room: others have their turn, and a lost connection is noticed.
                    await asyncio.sleep(0)
                if self._closing is not None:
                    await self._socket.close(self._closing)
                    return
                self._news.clear()
                await self._news.wait()
