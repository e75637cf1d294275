"""Every way into edge, what a good request there looks like, and whose requests must leave nothing behind.

A table entry says how a route is called with a credential that counts. Its ``refused`` are the same request with credentials
that don't: none, a wrong, an expired, a revoked one, one of somebody else or for something else. Which of these there are
is checked; where a kind can't exist, ``absent`` says why.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import asyncpg
import httpx
from fastapi import FastAPI
from starlette.routing import BaseRoute

from edge.pool import RunningEdge

KINDS: Final = ("none", "wrong", "expired", "revoked", "foreign")


@dataclass(frozen=True)
class Request:
    """What is sent. ``{braces}`` in a path have been filled in."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None

    def authorized(self, authorization: str | None) -> Request:
        """The same with another header, or none."""
        others = {name: value for name, value in self.headers.items() if name != "authorization"}
        return replace(self, headers=others if authorization is None else {**others, "authorization": authorization})


Change = Callable[[Any, Request], Request]
Ask = Callable[[Any], Awaitable[Request]]
# By kind and what it is: "foreign: a device".
Refused = Mapping[str, Change]


@dataclass(frozen=True)
class Way:
    """``route`` as the app has it: ``GET /jobs/{job}``. ``ask`` gets the world that its table is about."""

    route: str
    ask: Ask
    refused: Refused = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    # Why nobody needs a credential here; then nothing may be written.
    open_to_all: str | None = None

    def untried(self) -> list[str]:
        return [] if self.open_to_all else untried(self.refused, self.absent)


def untried(refused: Iterable[str], absent: Iterable[str] = ()) -> list[str]:
    """The kinds of credential that no entry is about."""
    named = {name.split(":")[0] for name in refused} | set(absent)
    return [kind for kind in KINDS if kind not in named]


def routes(app: FastAPI) -> set[str]:
    """All that the app answers: ``GET /jobs/{job}``, and ``WS /agents``."""
    return set(_walk(app.routes))


def _walk(listed: Sequence[BaseRoute]) -> Iterator[str]:
    for route in listed:
        # FastAPI keeps an included router whole.
        if (included := getattr(route, "original_router", None)) is not None:
            yield from _walk(included.routes)
            continue
        path = getattr(route, "path", repr(route))
        methods = getattr(route, "methods", None)
        for method in sorted(methods - {"HEAD"}) if methods else ("WS",):
            yield f"{method} {path}"


async def state(edge: RunningEdge, tables: asyncpg.Pool) -> dict[str, Any]:
    """All that a request can change: topics, rows, blobs, and what edge believes."""
    door = edge.door
    known = {"gateways": door.gateways, "members": door.members, "jobs": door.jobs, "carried": door.view.carried}
    return {
        **{f"topic {name}": end for name, end in edge.log.ends().items()},
        **{f"table {name}": rows for name, rows in (await _rows(tables)).items()},
        "blobs": sorted(str(path) for path in edge.blob_directory.rglob("*") if path.is_file()),
        **{f"memory of {name}": repr(vars(model)) for name, model in known.items()},
    }


async def _rows(tables: asyncpg.Pool) -> dict[str, list[str]]:
    names = await tables.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'edge'")
    return {
        name: [str(row["whole"]) for row in await tables.fetch(f'SELECT t::text AS whole FROM "{name}" t ORDER BY 1')]
        for (name,) in names
    }


async def sent(http: httpx.AsyncClient, request: Request) -> httpx.Response:
    """The answer; of a stream that goes on the head only."""
    parts = {"headers": dict(request.headers), "json": request.json, "content": request.content}
    async with http.stream(request.method, request.path, **parts) as answer:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            await answer.aread()
    return answer


async def what_it_left(
    edge: RunningEdge, tables: asyncpg.Pool, request: Request, before: Mapping[str, Any], *, http: httpx.AsyncClient
) -> tuple[list[str], dict[str, Any]]:
    """What is wrong about how ``request`` was refused, nothing if all is well; and the state behind it.

    The state counts, not the status.
    """
    answer = await sent(http, request)
    # What would be done behind the answer has time to be done.
    await asyncio.sleep(0.01)
    after = await state(edge, tables)
    found = [f"{part} has changed" for part in after if after[part] != before.get(part)]
    if not 400 <= answer.status_code < 500:
        found.append(f"it was answered with {answer.status_code}")
    elif list(answer.json()) != ["error"]:
        found.append("it was told something")
    return found, after
