"""A node that can be made to fail: everything goes through to anvil, unless the test says what comes back instead."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

# Takes method, parameters and the node's true answer; gives the answer that is told.
Told = Callable[[str, list[Any], Any], Any]


class Proxy:
    """``told`` changes single answers, ``body`` replaces the whole reply; both can be set and taken back at any time."""

    def __init__(self, node: str) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.requests = 0
        self.told: Told | None = None
        self.body: web.Response | None = None
        self.node = node

    async def reply(self, request: web.Request) -> web.StreamResponse:
        questions = await request.json()
        together = questions if isinstance(questions, list) else [questions]
        self.requests += 1
        self.asked += [question["method"] for question in together]
        if self.body is not None:
            return web.Response(status=self.body.status, text=self.body.text, content_type="application/json")
        async with aiohttp.ClientSession() as session, session.post(self.node, json=questions) as response:
            answers = await response.json()
        given = answers if isinstance(questions, list) else [answers]
        if self.told is not None:
            given = [
                self.told(question["method"], question["params"], answer)
                for question, answer in zip(together, given, strict=True)
            ]
        answers = given if isinstance(questions, list) else given[0]
        return web.Response(text=json.dumps(answers), content_type="application/json")


@asynccontextmanager
async def before(node: str) -> AsyncIterator[Proxy]:
    """A proxy in front of a node, on a free port."""
    proxy = Proxy(node)
    app = web.Application()
    app.router.add_post("/", proxy.reply)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield proxy
    finally:
        await runner.cleanup()
