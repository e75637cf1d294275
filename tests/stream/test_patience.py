"""A program that waits for Kafka or the database ends when it is told to, and says what it could not go on with."""

from __future__ import annotations

import asyncio

import pytest

from millpond.stream import patience
from millpond.stream.database import DatabaseAway
from millpond.stream.feed import LogAway
from millpond.stream.patience import Stopped, patiently, until_stopped

# Only a wait that never ends reaches it.
WITHIN_S = 120.0


async def test_it_asks_until_both_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "AWAY_RETRY_S", 0.001)
    away = [LogAway(cause="no broker"), DatabaseAway(cause="no server")]

    async def ask() -> str:
        if away:
            raise away.pop()
        return "here"

    assert await patiently(ask, asyncio.Event()) == "here"


async def test_told_to_stop_it_waits_no_longer() -> None:
    stopping = asyncio.Event()

    async def ask() -> None:
        asyncio.get_running_loop().call_soon(stopping.set)
        raise LogAway(cause="no broker")

    async with asyncio.timeout(WITHIN_S):
        with pytest.raises(Stopped):
            await patiently(ask, stopping)
        with pytest.raises(Stopped):
            await patiently(ask, stopping)


async def test_stopped_is_no_failure_also_out_of_a_task_group() -> None:
    async def stopped() -> None:
        raise Stopped

    with until_stopped():
        await stopped()
    with until_stopped():
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(stopped())


async def test_of_a_task_groups_failures_the_first_comes_out_by_itself() -> None:
    async def failed(number: int) -> None:
        raise ValueError(number)

    async def both() -> None:
        with until_stopped():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(failed(1))
                tasks.create_task(failed(2))

    with pytest.raises(ValueError, match="1"):
        await both()
