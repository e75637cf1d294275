"""What a passage leaves behind when it is broken off."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator

import pytest

from millpond_cli.gateway.cut import Segment
from millpond_cli.gateway.passage import next_segment


async def test_a_cut_is_waited_for_however_often_it_is_cancelled() -> None:
    """The feed and an upload that are refused at once cancel it twice; a generator that runs can't be closed."""
    begun, may_end = threading.Event(), threading.Event()

    def segments() -> Generator[Segment, None, None]:
        begun.set()
        may_end.wait()
        yield from ()

    cut = segments()
    taking = asyncio.create_task(next_segment(cut))
    await asyncio.to_thread(begun.wait)
    for _ in range(3):
        taking.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    left_early = taking.done()
    may_end.set()
    assert not left_early
    with pytest.raises(asyncio.CancelledError):
        await taking
    cut.close()
