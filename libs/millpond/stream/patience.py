"""Waiting for Kafka, for the database or for time to pass, by a program that can be told to stop meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

import structlog

from millpond.stream.database import DatabaseAway
from millpond.stream.feed import LogAway

AWAY_RETRY_S: Final = 1.0

Answer = TypeVar("Answer")
log = structlog.get_logger(__name__)


class Stopped(Exception):
    """Ends a wait for Kafka or the database when the program is told to stop."""


async def patiently(ask: Callable[[], Awaitable[Answer]], stopping: asyncio.Event) -> Answer:
    """Asks until Kafka and the database are there to answer. Raises ``Stopped`` if ``stopping`` is set before."""
    while not stopping.is_set():
        try:
            return await ask()
        except (DatabaseAway, LogAway) as away:
            log.warning("away", cause=str(away), wait_s=AWAY_RETRY_S)
            await pause(AWAY_RETRY_S, stopping)
    raise Stopped


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Returns after ``seconds``, or as soon as ``stopping`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stopping.wait(), seconds)


@contextmanager
def until_stopped() -> Iterator[None]:
    """Around a program's work: ``Stopped`` ends the block, and is no failure.

    Of a task group's failures the first comes out by itself: it says more than that one of several tasks failed.
    """
    try:
        yield
    except (Stopped, BaseExceptionGroup) as failure:
        cause = _first(failure)
        if not isinstance(cause, Stopped):
            raise cause from failure


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure
