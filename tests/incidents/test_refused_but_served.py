"""Incident 42, `refused-but-served`: a handler answers "unauthorised" and goes on, because the refusal does not return.

Every route and message type of edge, listed from its code, is called with no, a wrong, an expired, a revoked and a foreign
credential. What counts is what is on the topics, in the tables and in the store afterwards, not the status. A way in that
stands in no table fails here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import httpx
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.exceptions import ConnectionClosed

from edge.agents.device import Device, connected, welcomed
from edge.joining.visitors import ALICE, address_of
from incidents import agent_ways, contributor_ways, gateway_ways, joining_ways
from incidents.edge_world import WORKER, World, world
from incidents.refusals import Request, Way, routes, sent, state, untried, what_it_left
from millpond.events.registry_members import DeviceRemoved
from millpond.events.topics import REGISTRY_MEMBERS
from millpond.stream.postgres.database import open_database
from millpond_edge.agents import link, rules
from millpond_edge.agents.lanes import Passenger
from millpond_edge.agents.sessions import schema as agents_schema
from millpond_edge.app import create_app
from millpond_edge.gateways import blob_rights
from millpond_edge.joining.store import schema as joining_schema

WAYS: tuple[Way, ...] = (*gateway_ways.WAYS, *joining_ways.WAYS, *contributor_ways.WAYS)
# Whoever is heard there has greeted: ``agent_ways``.
SOCKETS = {"WS /agents"}


@pytest.fixture
async def tables(database: str) -> AsyncIterator[asyncpg.Pool]:
    opened = await open_database(database, "edge", service_schema=joining_schema() + agents_schema())
    yield opened.pool
    await opened.close()


@pytest.fixture
async def pond(tables: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(blob_rights, "LAG_S", 0.05)
    async with world(tmp_path, tables) as pond:
        yield pond


def test_no_way_in_is_left_out() -> None:
    app = create_app(None, None)  # type: ignore[arg-type]  # nothing is served
    assert routes(app) == {way.route for way in WAYS} | SOCKETS
    assert set(rules.CLAIMS) == set(agent_ways.CLAIMS)
    described = {f"{method.upper()} {path}" for path, methods in app.openapi()["paths"].items() for method in methods}
    assert described <= routes(app)


def test_no_kind_of_credential_is_left_out() -> None:
    assert {way.route: way.untried() for way in WAYS if way.untried()} == {}
    assert untried(agent_ways.REFUSED_GREETINGS) == []
    assert untried(agent_ways.REFUSED_CLAIMS, absent=("expired", "revoked")) == []


async def test_what_a_credential_does_not_allow_does_not_happen(pond: World, tables: asyncpg.Pool) -> None:
    found, before = {}, await state(pond.edge, tables)
    for way in WAYS:
        good = await way.ask(pond)
        for name, change in way.refused.items():
            left, before = await what_it_left(pond.edge, tables, change(pond, good), before, http=pond.edge.http)
            if left:
                found[f"{way.route}, {name}"] = left
    assert found == {}
    # And all of it happens, once the credential allows it: what was refused was nothing else.
    for way in WAYS:
        answer = await sent(pond.edge.http, await way.ask(pond))
        if way.open_to_all is None:
            assert answer.is_success, (way.route, answer.status_code)
    before = await state(pond.edge, tables)
    for way in WAYS:
        if way.open_to_all is not None:
            assert (await sent(pond.edge.http, await way.ask(pond))).status_code < 500, way.route
    assert await state(pond.edge, tables) == before


async def test_who_is_not_let_in_has_said_nothing(pond: World, tables: asyncpg.Pool) -> None:
    before = await state(pond.edge, tables)
    for name, (device, changes) in agent_ways.REFUSED_GREETINGS.items():
        async with connected(pond.edge.url) as (socket, nonce):
            await socket.send(device.hello(nonce, **changes))
            await socket.send(*[agent_ways.said(device, kind) for kind in agent_ways.CLAIMS])
            _, heard = await socket.closed()
        assert [each["type"] for each in heard] == ["Refused"], name
    async with connected(pond.edge.url) as (socket, _):
        await socket.send(*[agent_ways.said(Device(WORKER), kind) for kind in agent_ways.CLAIMS])
        await socket.closed()
    assert await state(pond.edge, tables) == before


async def test_what_is_not_signed_as_it_should_be_is_on_no_topic(pond: World, tables: asyncpg.Pool) -> None:
    device = Device(WORKER)
    async with welcomed(pond.edge.url, device) as (socket, _):
        before = await state(pond.edge, tables)
        for kind in agent_ways.CLAIMS:
            for name, make in agent_ways.REFUSED_CLAIMS.items():
                assert (await socket.ask(make(device, kind)))["type"] == "Refused", (kind, name)
        assert await state(pond.edge, tables) == before
        for kind in agent_ways.CLAIMS:
            assert (await socket.ask(agent_ways.said(device, kind)))["type"] == "Accepted", kind


async def test_what_is_said_behind_the_end_of_a_delegation_is_on_no_topic(pond: World, tables: asyncpg.Pool) -> None:
    alice, edge = address_of(ALICE), pond.edge
    before = await state(edge, tables)
    for kind in agent_ways.CLAIMS:
        device = Device(WORKER)
        async with welcomed(edge.url, device) as (socket, _):
            edge.ahead_ms[0] = 3_601_000
            await socket.send(agent_ways.said(device, kind))
            assert [each["reason"] for each in (await socket.closed())[1]] == ["delegation-expired"]
            edge.ahead_ms[0] = 0
    assert await state(edge, tables) == before
    for n, kind in enumerate(agent_ways.CLAIMS):
        device = Device(bytes([100 + n]) * 32)
        edge.log.register(device.id, contributor=alice)
        await edge.settled()
        async with welcomed(edge.url, device) as (socket, _):
            removed = DeviceRemoved(contributor=alice, device=device.id, reason="revoked", sentence="Revoked.")
            edge.log.say(REGISTRY_MEMBERS, alice, removed)
            await edge.settled()
            # It may have heard of it already.
            with suppress(ConnectionClosed):
                await socket.send(agent_ways.said(device, kind))
            assert [each["reason"] for each in (await socket.closed())[1]] == ["device-removed"]
    after = await state(edge, tables)
    assert {part for part in after if after[part] != before[part]} == {
        f"topic {REGISTRY_MEMBERS.name}",
        "memory of members",
    }


# --- The double: what edge refuses it does all the same.


class GoesOn:
    """Answers as edge does, and then serves the request as if its credential had been good."""

    def __init__(self, app: ASGIApp, good: Request) -> None:
        self._app = app
        self._good = good

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        headers = [(name.encode(), value.encode()) for name, value in self._good.headers.items()]
        headers += [(name, value) for name, value in scope["headers"] if name.startswith(b"content-")]

        async def unheard(_: Message) -> None: ...

        async def again() -> Message:
            return {"type": "http.request", "body": self._good.content or b""}

        await self._app({**scope, "headers": headers}, again, unheard)


async def test_doubles_that_go_on_behind_their_refusal_are_found_out(
    pond: World, tables: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = {way.route: way for way in gateway_ways.WAYS}
    before = await state(pond.edge, tables)
    for route in ("PUT /blobs/{hash}", "DELETE /jobs/{job}"):
        good = await ways[route].ask(pond)
        double = GoesOn(create_app(pond.edge.door, None), good)  # type: ignore[arg-type]  # no agent comes here
        async with httpx.AsyncClient(transport=httpx.ASGITransport(double), base_url=pond.edge.url) as http:
            left, before = await what_it_left(pond.edge, tables, good.authorized(None), before, http=http)
        assert left != [], route

    device, whole = Device(WORKER), link.Link._refuse

    def goes_on(self: link.Link, refuse: rules.Refuse) -> None:
        whole(self, refuse)
        carry = rules.hear(device.heartbeat(), self._speaker)
        assert isinstance(carry, rules.Carry)
        self._carrying = asyncio.ensure_future(self._lanes.put(Passenger(carry, 0)))

    monkeypatch.setattr(link.Link, "_refuse", goes_on)
    async with welcomed(pond.edge.url, device) as (socket, _):
        before = await state(pond.edge, tables)
        assert (await socket.ask(agent_ways.REFUSED_CLAIMS["none"](device, "Heartbeat")))["type"] == "Refused"
        await socket.hear()
        assert await state(pond.edge, tables) != before
