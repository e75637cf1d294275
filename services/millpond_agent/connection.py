"""The connection to edge: made again for ever, and what must arrive is sent until it is acknowledged."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog
from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from millpond.errors import MillpondError
from millpond.identity import DeviceKey
from millpond_agent.messages import FROM_EDGE, Challenge, FromEdge, Refused, Welcome
from millpond_agent.rules import LATER, failures_in_a_row, reconnect_s
from millpond_agent.session import Session, SignedClaim

GREETING_S_MAX: Final = 15.0
PING_EVERY_S: Final = 5.0
# Less than the time after which the pool calls this machine suspect: it will be back on a new connection by then.
PONG_S_MAX: Final = 8.0
# What was not acknowledged by then is sent once more.
RESEND_S: Final = 10.0
MESSAGE_BYTES_MAX: Final = 16 * 1_048_576
# Progress that nobody could send for so long is old.
PASSING_MAX: Final = 1_000

log = structlog.get_logger(__name__)


class ConnectionBroke(MillpondError):
    """The connection broke: {cause}."""


class _TurnedAway(Exception):
    def __init__(self, refusal: Refused) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal


class Connection:
    """``heard`` gets every message behind the greeting, Welcome first; it must not block.

    ``turned_away`` decides what a refused greeting means: it returns to try again, or raises to end ``run``.
    """

    def __init__(
        self,
        url: str,
        *,
        key: DeviceKey,
        pool: str,
        session: Session,
        heard: Callable[[FromEdge], None],
        turned_away: Callable[[Refused], Awaitable[None]],
        told: Callable[[str], None],
    ) -> None:
        self._url = url.replace("http", "ws", 1) + "/agents"
        self._key = key
        self._pool = pool
        self._session = session
        self._heard = heard
        self._turned_away = turned_away
        self._told = told
        self._passing: deque[SignedClaim] = deque(maxlen=PASSING_MAX)
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.is_open = False
        self._welcome_at_s: float | None = None

    async def run(self) -> None:
        """Until cancelled, or ``turned_away`` raises."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._welcome_at_s, is_soon = None, False
            try:
                await self._live()
            except _TurnedAway as error:
                await self._turned_away(error.refusal)
                is_soon = error.refusal.reason in LATER
            except (OSError, TimeoutError, WebSocketException, ConnectionBroke) as error:
                self._told(f"No connection to the pool: {_cause(error)}.")
            finally:
                self.is_open = False
                self._passing.clear()
                self._idle.set()
            welcome_s = None if self._welcome_at_s is None else loop.time() - self._welcome_at_s
            failures = failures_in_a_row(failures, welcome_s=welcome_s, is_soon=is_soon)
            await asyncio.sleep(reconnect_s(failures, chance=random.random()))  # noqa: S311  # spreads, guards nothing

    def send(self, claim: SignedClaim) -> None:
        """Once, if there is a connection."""
        if self.is_open:
            self._passing.append(claim)
            self.send_recorded()

    def send_recorded(self) -> None:
        """There is something new in the session."""
        if self.is_open:
            self._idle.clear()
            self._news.set()

    async def flushed(self) -> None:
        """Returns when nothing waits to be sent, or there is no connection any more."""
        await self._idle.wait()

    async def _live(self) -> None:
        async with connect(
            self._url,
            open_timeout=GREETING_S_MAX,
            ping_interval=PING_EVERY_S,
            ping_timeout=PONG_S_MAX,
            close_timeout=1,
            max_size=MESSAGE_BYTES_MAX,
            # One small signed text a second: it does not shrink.
            compression=None,
        ) as socket:
            async with asyncio.timeout(GREETING_S_MAX):
                welcome = await self._greet(socket)
            self.is_open, self._welcome_at_s = True, asyncio.get_running_loop().time()
            self._heard(welcome)
            sender = asyncio.create_task(self._send(socket))
            try:
                async for text in socket:
                    self._hear(text)
            finally:
                self.is_open = False
                sender.cancel()
                with suppress(asyncio.CancelledError, WebSocketException):
                    await sender
        raise ConnectionBroke(cause="the pool closed it")

    async def _greet(self, socket: ClientConnection) -> Welcome:
        challenge = _parsed(await socket.recv())
        if isinstance(challenge, Refused):
            raise _TurnedAway(challenge)
        if not isinstance(challenge, Challenge):
            raise ConnectionBroke(cause="what answers there does not greet as a pool does")
        session = self._session.id
        signature = self._key.sign(pool=self._pool, kind="Hello", text=f"{challenge.nonce} {session}")
        hello = {"type": "Hello", "device": self._key.device, "session": session, "signature": signature}
        await socket.send(json.dumps(hello))
        answer = _parsed(await socket.recv())
        match answer:
            case Welcome():
                return answer
            case Refused():
                raise _TurnedAway(answer)
            case _:
                raise ConnectionBroke(cause="the pool answered the greeting with something else")

    def _hear(self, text: str | bytes) -> None:
        message = _parsed(text)
        if message is None:
            return
        if isinstance(message, Refused) and message.sequence is None:
            # Revoked in mid-connection, for instance.
            raise _TurnedAway(message)
        self._heard(message)

    async def _send(self, socket: ClientConnection) -> None:
        """First what an earlier connection, or an earlier process, could not deliver."""
        loop = asyncio.get_running_loop()
        sent, sent_before, looked_at = 0, 0, loop.time()
        while True:
            self._news.clear()
            while claims := self._session.unacknowledged(behind=sent):
                for claim in claims:
                    await socket.send(_frame(claim))
                    # Between them: behind a long backlog of results the machine would look silent.
                    await self._send_passing(socket)
                sent = claims[-1].sequence
            await self._send_passing(socket)
            if loop.time() - looked_at > RESEND_S:
                for claim in self._session.unacknowledged():
                    if claim.sequence <= sent_before:
                        await socket.send(_frame(claim))
                sent_before, looked_at = sent, loop.time()
            if not self._news.is_set():
                self._idle.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), RESEND_S)

    async def _send_passing(self, socket: ClientConnection) -> None:
        while self._passing:
            await socket.send(_frame(self._passing.popleft()))


def _frame(claim: SignedClaim) -> str:
    return json.dumps({"type": claim.type, "payload": claim.payload, "signature": claim.signature})


def _parsed(text: str | bytes) -> FromEdge | None:
    """None for a type that this version doesn't know."""
    try:
        return FROM_EDGE.validate_json(text)
    except ValidationError as error:
        problem: Any = error.errors(include_url=False, include_input=False)[0]
        log.warning("passed over a message of the pool", problem=problem["msg"], field=problem["loc"])
        return None


def _cause(error: BaseException) -> str:
    if isinstance(error, ConnectionBroke):
        return str(error.facts["cause"])
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer"
    return str(error).rstrip(".") or type(error).__name__
