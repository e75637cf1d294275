"""Reading Server-Sent Events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from millpond_cli.gateway.sse import ServerEvent, server_events


async def lines(text: str) -> AsyncIterator[str]:
    for line in text.split("\n"):
        yield line


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("id: 7\nevent: JobFinished\ndata: {}\n\n", [ServerEvent("7", "JobFinished", "{}")]),
        ("data:1\n\ndata: 2\n\n", [ServerEvent("", "message", "1"), ServerEvent("", "message", "2")]),
        ("id: 7\ndata: 1\n\ndata: 2\n\n", [ServerEvent("7", "message", "1"), ServerEvent("7", "message", "2")]),
        ("data: 1\ndata: 2\n\n", [ServerEvent("", "message", "1\n2")]),
        (": alive\n\n: alive\n\n", []),
        ("id: 7\n\n", []),
        ("retry: 10\nother\ndata: a:b\n\n", [ServerEvent("", "message", "a:b")]),
        ("id: 7\ndata: cut off", []),
        ("", []),
    ],
)
async def test_events_are_read_as_the_specification_says(text: str, events: list[ServerEvent]) -> None:
    assert [event async for event in server_events(lines(text))] == events
