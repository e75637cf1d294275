"""``/agents``: a device says who it is, and is let in or not."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import Final

from fastapi import APIRouter
from starlette.websockets import WebSocket, WebSocketDisconnect

from millpond_edge.agents import messages
from millpond_edge.agents.link import REFUSED, TRY_AGAIN
from millpond_edge.agents.roster import Roster
from millpond_edge.agents.rules import Refuse, Speaker, greet
from millpond_edge.credentials.devices import require_working
from millpond_edge.door import open_door
from millpond_edge.errors import Refusal

# A stranger's connection costs memory; one that doesn't greet is closed.
GREETING_S: Final = 10.0

router = APIRouter()


@router.websocket("/agents")
async def agents(socket: WebSocket) -> None:
    """See ``messages`` for what is said."""
    roster: Roster = socket.app.state.roster
    # The other side may be gone at any word.
    with suppress(WebSocketDisconnect):
        await socket.accept()
        match await _greeted(socket):
            case Refuse(reason=reason, sentence=sentence):
                await socket.send_text(messages.refused(reason, sentence))
                await socket.close(TRY_AGAIN if reason in ("starting", "stopping") else REFUSED)
            case Speaker() as speaker:
                await roster.serve(socket, speaker)


async def _greeted(socket: WebSocket) -> Speaker | Refuse:
    """Who it is, if it may work; nothing was done for it before."""
    if socket.app.state.door.stopping.is_set():
        return Refuse("stopping", "This edge is about to stop. Connect again: another one answers, or its next life.")
    try:
        door = open_door(socket)
        nonce = "0x" + secrets.token_hex(32)
        await socket.send_text(messages.challenge(nonce))
        async with asyncio.timeout(GREETING_S):
            text = await _text(socket)
        speaker = greet(text, nonce=nonce, pool=door.domain.pool)
        if isinstance(speaker, Speaker):
            # Behind the signature: else a stranger could use up what is somebody else's.
            door.limits.take(speaker.device)
            require_working(door, speaker.device)
        return speaker
    except TimeoutError:
        return Refuse("greeting-late", f"No Hello within {GREETING_S:g} s. Connect again, and answer the Challenge.")
    except Refusal as refusal:
        return Refuse(refusal.reason, str(refusal))


async def _text(socket: WebSocket) -> str:
    """The first message; one that is binary is no greeting. Raises ``WebSocketDisconnect``."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    return message.get("text") or ""
