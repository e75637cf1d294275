"""No stranger fills the memory: what is no blob is short, whoever sends it."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millpond_edge.errors import BodyTooLarge, error_answer

# The largest is a signed action with a contract wallet's signature; a job's description has some kilobytes.
BODY_BYTES_MAX = 262_144
# Blobs are streamed, and measured where they are stored.
STREAMED_METHOD, STREAMED_PREFIX = "PUT", "/blobs/"


class BodyLimit:
    """Takes a whole body of ``BODY_BYTES_MAX`` at most before any route sees the request; else answers 413."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _is_streamed(scope):
            await self._app(scope, receive, send)
            return
        messages, taken, more = list[Message](), 0, True
        while more and taken <= BODY_BYTES_MAX:
            message = await receive()
            messages.append(message)
            taken += len(message.get("body", b""))
            more = message.get("more_body", False)
        if taken > BODY_BYTES_MAX:
            refusal = BodyTooLarge(allowed=BODY_BYTES_MAX)
            answer = error_answer(refusal.status, refusal.reason, str(refusal), {"connection": "close"})
            await answer(scope, receive, send)
            return
        await self._app(scope, _again(iter(messages), receive), send)


def _is_streamed(scope: Scope) -> bool:
    return bool(scope["method"] == STREAMED_METHOD and scope["path"].startswith(STREAMED_PREFIX))


def _again(messages: Iterator[Message], receive: Receive) -> Receive:
    async def replayed() -> Message:
        message = next(messages, None)
        return await receive() if message is None else message

    return replayed
