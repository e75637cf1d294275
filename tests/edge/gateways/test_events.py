"""A gateway follows its own jobs, and goes on exactly behind what it has seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from edge.pool import WITHIN_S, RunningEdge
from edge.view.test_jobs import accepted, assigned
from millpond.events.event import Event
from millpond.events.ids import job_id
from millpond.events.registry_gateways import GatewaySuspended
from millpond.events.topics import REGISTRY_GATEWAYS, REGISTRY_MEMBERS, SCHEDULER_ASSIGNMENTS
from millpond.stream.cursor import Cursor
from millpond.stream.record import Place
from millpond_edge import following as module


@dataclass
class Told:
    id: str
    name: str
    data: dict[str, Any]


async def told(lines: AsyncIterator[str]) -> Told:
    """The next event that has data."""
    found = Told("", "", {})
    async for line in lines:
        field, _, value = line.partition(": ")
        if field == "id":
            found.id = value
        elif field == "event":
            found.name = value
        elif field == "data":
            found.data = httpx.Response(200, text=value).json()
        elif not line and found.data:
            return found
    raise EOFError


@asynccontextmanager
async def following(edge: RunningEdge, headers: dict[str, str], **query: str) -> AsyncIterator[AsyncIterator[str]]:
    async with (
        asyncio.timeout(WITHIN_S),
        edge.http.stream("GET", "/jobs/events", params=query, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer.aiter_lines()


def say(edge: RunningEdge, event: Event) -> None:
    edge.log.say(SCHEDULER_ASSIGNMENTS, event.job, event)  # type: ignore[attr-defined]  # all of the scheduler's have one


def story(edge: RunningEdge, count: int, gateway: str = "acme") -> list[str]:
    """As many jobs, each accepted and assigned; their ids."""
    for number in range(count):
        say(edge, accepted(gateway, str(number)))
        say(edge, assigned(job=job_id(gateway, str(number))))
    return [job_id(gateway, str(number)) for number in range(count)]


async def test_what_happens_from_now_on_is_told_as_it_happens(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    story(edge, 1)
    await edge.settled()
    async with following(edge, headers) as lines:
        say(edge, accepted(request_id="later"))
        event = await told(lines)
    assert (event.name, event.data["id"], event.data["state"]) == ("JobAccepted", "later", "accepted")


async def test_from_the_beginning_all_is_told_of_ones_own_jobs_only(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    story(edge, 3, "other")
    jobs = story(edge, 3)
    await edge.settled()
    async with following(edge, headers, cursor="beginning") as lines:
        events = [await told(lines) for _ in range(6)]
    assert [event.data["job"] for event in events if event.name == "JobAssigned"].sort() == jobs.sort()
    assert {event.data["job"] for event in events} == set(jobs)


@pytest.mark.parametrize("as_header", [True, False])
async def test_wherever_it_breaks_it_goes_on_behind_what_was_seen(edge: RunningEdge, as_header: bool) -> None:
    headers = await edge.gateway()
    story(edge, 10)
    await edge.settled()
    async with following(edge, headers, cursor="beginning") as lines:
        everything = [await told(lines) for _ in range(20)]
    for seen in range(1, 20):
        behind = everything[seen - 1].id
        query, more = ({}, {"last-event-id": behind}) if as_header else ({"cursor": behind}, {})
        async with following(edge, {**headers, **more}, **query) as lines:
            rest = [await told(lines) for _ in range(20 - seen)]
        assert rest == everything[seen:]


async def test_the_first_id_is_where_to_begin_again_if_nothing_came(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    async with following(edge, headers) as lines:
        first = await anext(lines)
    say(edge, accepted())
    await edge.settled()
    async with following(edge, headers, cursor=first.removeprefix("id: ")) as lines:
        assert (await told(lines)).name == "JobAccepted"


async def test_a_silent_stream_shows_that_it_lives(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_EVERY_S", 0.05)
    headers = await edge.gateway()
    async with following(edge, headers) as lines:
        assert [line async for line in lines_until(lines, ": alive")][-1] == ": alive"


async def lines_until(lines: AsyncIterator[str], last: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line == last:
            return


async def test_a_stream_ends_when_its_key_no_longer_counts(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    async with following(edge, headers) as lines:
        await anext(lines)
        edge.log.say(REGISTRY_GATEWAYS, "acme", GatewaySuspended(gateway="acme", sentence="It does not pay."))
        say(edge, accepted(request_id="secret"))
        assert not [line async for line in lines if line.startswith("data") and "secret" in line]


async def test_a_stream_ends_when_edge_stops(edge: RunningEdge) -> None:
    headers = await edge.gateway()
    async with following(edge, headers) as lines:
        await anext(lines)
        edge.door.stopping.set()
        async for _ in lines:
            pass


FOREIGN = Cursor({Place(REGISTRY_MEMBERS.name, 0): 1}).encode()


@pytest.mark.parametrize("cursor", ["x", "Beginning", FOREIGN, FOREIGN[:-1], "a" * 5_000])
async def test_what_is_no_cursor_of_this_stream_is_refused(edge: RunningEdge, cursor: str) -> None:
    answer = await edge.http.get("/jobs/events", params={"cursor": cursor}, headers=await edge.gateway())
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "cursor-unreadable")
