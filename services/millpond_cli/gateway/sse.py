"""Server-Sent Events, as HTML's specification says they are read (WHATWG, 9.2.6), one event from the lines of a body."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """``id`` is where to go on after it; empty if the server has said none. ``data`` may have several lines."""

    id: str
    name: str
    data: str


async def server_events(lines: AsyncIterator[str]) -> AsyncIterator[ServerEvent]:
    """The events in ``lines``; one that is cut off by the end is dropped, comments are passed over."""
    last_id, name, data = "", "", list[str]()
    async for line in lines:
        if not line:
            if data:
                yield ServerEvent(last_id, name or "message", "\n".join(data))
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "id":
                last_id = value
            case "event":
                name = value
            case "data":
                data.append(value)
