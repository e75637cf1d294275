"""A contributor follows his own money, and goes on exactly behind what he has seen, whichever edge he asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from edge.gateways.test_events import Told, told
from edge.joining.visitors import ALICE, MALLORY, address_of, browser, said, token_of
from edge.money import WEI, held, of_nobody, ordered, say, settled, statement
from edge.pool import WITHIN_S, PoolLog, RunningEdge, running_edge
from millpond.events.topics import SCHEDULER_ASSIGNMENTS, TREASURY_SETTLEMENTS
from millpond.stream.cursor import Cursor
from millpond.stream.record import Place
from millpond_edge import following as module

HIS, HERS = address_of(ALICE), address_of(MALLORY)
HOUR_MS = 3_600_000


async def bearer(edge: RunningEdge, key: str = ALICE) -> dict[str, str]:
    return {"authorization": f"Bearer {await token_of(edge, key)}"}


@asynccontextmanager
async def following(
    edge: RunningEdge, headers: dict[str, str], http: httpx.AsyncClient | None = None, **query: str
) -> AsyncIterator[AsyncIterator[str]]:
    async with (
        asyncio.timeout(WITHIN_S),
        (http or edge.http).stream("GET", "/payouts/events", params=query, headers=headers) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        yield answer.aiter_lines()


async def all_told(edge: RunningEdge, headers: dict[str, str], cursor: str = "beginning") -> list[Told]:
    """What there is behind ``cursor``."""
    async with following(edge, headers, cursor=cursor, follow="false") as lines:
        text = [line async for line in lines]
    assert text[-3:-1] == ["event: UpToDate", "data: {}"]
    blocks = [block.splitlines() for block in "\n".join(text).split("\n\n")]
    found = [dict(line.split(": ", 1) for line in block) for block in blocks if len(block) == 3]
    return [
        Told(each["id"], each["event"], httpx.Response(200, text=each["data"]).json())
        for each in found
        if each["event"] != "UpToDate"
    ]


def tell_epochs(log: PoolLog, count: int) -> None:
    for epoch in range(count):
        for who in (HIS, HERS):
            say(
                log, statement(who, epoch), ordered(who, epoch), held(who, epoch), of_nobody(epoch), settled(who, epoch)
            )


async def test_everybody_is_told_his_own_and_nothing_else(edge: RunningEdge) -> None:
    tell_epochs(edge.log, 2)
    await edge.settled()
    his, hers = await all_told(edge, await bearer(edge)), await all_told(edge, await bearer(edge, MALLORY))
    for events, own, other in ((his, HIS, HERS), (hers, HERS, HIS)):
        assert len(events) == 8
        assert other not in str(events)
        assert sorted((each.name, each.data["epoch"]) for each in events) == sorted(
            (name, epoch)
            for name in ("StatementIssued", "PayoutOrdered", "PayoutHeld", "PayoutSettled")
            for epoch in range(2)
        )
        issued = next(each.data["event"] for each in events if each.name == "StatementIssued")
        assert (issued["contributor"], issued["amount"]) == (own, str(WEI))


async def test_an_event_is_told_letter_by_letter(edge: RunningEdge) -> None:
    say(edge.log, ordered(HIS))
    await edge.settled()
    async with following(edge, await bearer(edge), cursor="beginning") as lines:
        line = [line async for line in _until(lines, "data: ")][-1]
    assert line == f'data: {{"epoch":0,"event":{ordered(HIS).to_bytes().decode()}}}'


async def _until(lines: AsyncIterator[str], beginning: str) -> AsyncIterator[str]:
    async for line in lines:
        yield line
        if line.startswith(beginning):
            return


async def test_the_page_follows_with_its_cookie(edge: RunningEdge) -> None:
    async with browser(edge) as page:
        await page.sign_in()
        async with following(edge, {}, page.http) as lines:
            say(edge.log, statement(HIS))
            event = await told(lines)
    assert (event.name, event.data["event"]["contributor"]) == ("StatementIssued", HIS)


async def test_wherever_it_breaks_it_goes_on_at_an_edge_that_was_started_anew(
    edge: RunningEdge, tables: asyncpg.Pool, tmp_path: Path
) -> None:
    tell_epochs(edge.log, 2)
    await edge.settled()
    headers = await bearer(edge)
    everything = await all_told(edge, headers)
    async with running_edge(tmp_path / "other", edge.log, database=tables) as other:
        for number, seen in enumerate(everything, start=1):
            # The session is in the database, and counts there, too. An edge reads the topics in an order of its own.
            rest = await all_told(other, headers, seen.id)
            whole = [*everything[:number], *rest]
            assert len(whole) == 8
            assert {(each.name, each.data["epoch"]) for each in whole} == {
                (each.name, each.data["epoch"]) for each in everything
            }
        assert await all_told(other, headers, everything[-1].id) == []


async def test_from_now_on_means_also_what_was_read_and_is_not_yet_anybodys(edge: RunningEdge) -> None:
    say(edge.log, statement(HIS), settled(HIS))
    await edge.settled()
    async with following(edge, await bearer(edge)) as lines:
        await anext(lines)
        say(edge.log, ordered(HIS))
        assert [(await told(lines)).name for _ in range(2)] == ["PayoutOrdered", "PayoutSettled"]


async def test_a_stream_ends_with_its_session(edge: RunningEdge, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = await bearer(edge)
    async with following(edge, headers) as lines:
        await anext(lines)
        assert (await edge.http.delete("/sessions", headers=headers)).status_code == 204
        say(edge.log, statement(HIS))
        assert [line async for line in lines if line.startswith("data")] == []
    monkeypatch.setattr(module, "ALIVE_EVERY_S", 0.05)
    async with following(edge, await bearer(edge)) as lines:
        edge.ahead_ms[0] = HOUR_MS + 1_000
        # Nothing is said, and yet it ends.
        assert [line async for line in lines if line.startswith("data")] == []


async def test_a_token_is_a_programs_and_does_nothing_but_look(edge: RunningEdge) -> None:
    headers = await bearer(edge)
    assert (await edge.http.get("/wallet/devices", headers=headers)).status_code == 401
    async with browser(edge) as page:
        await page.sign_in()
        assert (await page.http.delete("/sessions")).status_code == 401


async def test_a_text_makes_one_session(edge: RunningEdge) -> None:
    offered: dict[str, Any] = (await edge.http.post("/sign-ins", json={"address": HIS})).json()
    body = {"nonce": offered["nonce"], "signature": said(offered["text"])}
    answers = await asyncio.gather(*(edge.http.post("/sessions", json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401, 401]


FOREIGN = Cursor({Place(SCHEDULER_ASSIGNMENTS.name, 0): 1}).encode()


@pytest.mark.parametrize("cursor", ["x", FOREIGN, Cursor({Place(TREASURY_SETTLEMENTS.name, 0): 1}).encode()[:-1]])
async def test_what_is_no_cursor_of_this_stream_is_refused(edge: RunningEdge, cursor: str) -> None:
    answer = await edge.http.get("/payouts/events", params={"cursor": cursor}, headers=await bearer(edge))
    assert (answer.status_code, answer.json()["error"]["reason"]) == (400, "cursor-unreadable")
