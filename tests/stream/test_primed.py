"""The first record of a new publisher goes alone: behind one that the broker refuses, none may overtake it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest

from millpond.stream.log import Outbound, SendFailed
from millpond.stream.primed import PrimedPublisher
from millpond.stream.record import Place

HERE, THERE = Place("a.b.v1", 0), Place("a.b.v1", 1)
A, B, C = (Outbound(b"k", value, (), 0) for value in (b"a", b"b", b"c"))


class Handed:
    """A publisher that shows what it was handed, and whose acknowledgements the test gives."""

    def __init__(self) -> None:
        self.over: list[tuple[Place, list[Outbound]]] = []
        self.acknowledgements: list[asyncio.Future[int]] = []

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        self.over.append((place, list(records)))
        self.acknowledgements.append(asyncio.get_running_loop().create_future())
        return self.acknowledgements[-1]

    async def close(self) -> None:
        return


async def test_nothing_is_handed_over_behind_a_first_record_until_it_is_acknowledged() -> None:
    handed = Handed()
    publisher = PrimedPublisher(handed)
    sending = asyncio.create_task(publisher.send(HERE, [A, B]))
    other = asyncio.create_task(publisher.send(THERE, [C]))
    await asyncio.sleep(0.01)
    assert handed.over == [(HERE, [A]), (THERE, [C])]
    handed.acknowledgements[0].set_result(1)
    await sending
    assert handed.over[2:] == [(HERE, [B])]
    await publisher.send(HERE, [A, C])
    assert handed.over[3:] == [(HERE, [A, C])]
    handed.acknowledgements[1].set_exception(SendFailed(place=THERE, cause="refused"))
    with pytest.raises(SendFailed):
        await other


async def test_a_refused_first_record_lets_none_pass() -> None:
    handed = Handed()
    sending = asyncio.create_task(PrimedPublisher(handed).send(HERE, [A, B]))
    await asyncio.sleep(0.01)
    handed.acknowledgements[0].set_exception(SendFailed(place=HERE, cause="refused"))
    with pytest.raises(SendFailed):
        await sending
    assert handed.over == [(HERE, [A])]
