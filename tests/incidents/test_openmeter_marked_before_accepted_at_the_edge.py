"""Incident 27, `openmeter-marked-before-accepted`, edge's half: an id is marked as seen before the broker has the event.

If handing it over then fails, the client's honest retry is dropped as a duplicate and answered with success: lost. Here
edge marks nothing: it acknowledges what Kafka has acknowledged, and whether something is a repeat its reader decides.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from edge.agents.device import Device, Message, welcomed
from edge.pool import PoolLog, RunningEdge, running_edge
from millpond.events.topics import AGENT_RESULTS
from millpond.stream.log import Outbound, SendFailed
from millpond.stream.memory.log import MemoryPublisher
from millpond.stream.record import ITEM, Place
from millpond.stream.source import Observed, Source

PATIENCE_S = 0.15


class TroubledPublisher(MemoryPublisher):
    """A broker in ``trouble``, until that is None."""

    def __init__(self, log: PoolLog, trouble: str) -> None:
        super().__init__(log)
        self.trouble: str | None = trouble

    async def send(self, place: Place, records: Sequence[Outbound]) -> Awaitable[int]:
        match self.trouble:
            case "down":
                raise SendFailed(place=place, cause="no broker answers")
            case "full":
                refused: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                refused.set_exception(SendFailed(place=place, cause="KafkaStorageError: no space left on device"))
                return refused
            case "slow":
                await super().send(place, records)
                return asyncio.ensure_future(_no_answer(place))
        return await super().send(place, records)


async def _no_answer(place: Place) -> int:
    """The records are stored, and whoever sent them hears nothing of it in time."""
    await asyncio.sleep(2 * PATIENCE_S)
    raise SendFailed(place=place, cause="RequestTimedOutError")


async def retried(edge: RunningEdge, publisher: TroubledPublisher, device: Device) -> list[Message]:
    """What edge answers to a result, and to the same again until it is accepted; the trouble ends after the second."""
    text, answers = device.started(), list[Message]()
    while not answers or answers[-1]["type"] != "Accepted":
        async with welcomed(edge.url, device) as (socket, welcome):
            assert welcome["last_accepted"] == 0
            answers.append(await socket.ask(text))
        if len(answers) == 2:
            publisher.trouble = None
        assert len(answers) < 20
    return answers


def counted(log: PoolLog) -> int:
    """What metering counts: each item once."""
    return len({record.header(ITEM) for record in log.records(AGENT_RESULTS)})


@pytest.mark.parametrize("trouble", ["down", "full", "slow"])
async def test_a_result_is_acknowledged_once_the_broker_has_it_and_counts_once(tmp_path: Path, trouble: str) -> None:
    log, device = PoolLog(), Device()
    log.register(device.id)
    publisher = TroubledPublisher(log, trouble)
    async with running_edge(tmp_path, log, publisher=publisher, patience_s=PATIENCE_S) as edge:
        answers = await retried(edge, publisher, device)
    assert [answer["type"] for answer in answers[:2]] == ["Refused", "Refused"]
    assert {answer["reason"] for answer in answers[:2]} == {"not-acknowledged"}
    assert answers[-1] == {"type": "Accepted", "sequence": 1}
    assert counted(log) == 1
    values = {record.value for record in log.records(AGENT_RESULTS)}
    assert [json.loads(value or b"")["device"] for value in values] == [device.id]


def marks_first(publish: Callable[[Source, Sequence[Observed]], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    """The double: what it has seen it calls a duplicate, and answers with success."""
    seen: set[str] = set()

    async def naive(source: Source, items: Sequence[Observed]) -> None:
        new = [item for item in items if item.item not in seen]
        seen.update(item.item for item in items)
        await publish(source, new)

    return naive


@pytest.mark.parametrize("trouble", ["down", "full"])
async def test_a_double_that_marks_first_loses_the_result(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Source, "publish", marks_first(Source.publish))
    log, device = PoolLog(), Device()
    log.register(device.id)
    publisher = TroubledPublisher(log, trouble)
    async with running_edge(tmp_path, log, publisher=publisher, patience_s=PATIENCE_S) as edge:
        answers = await retried(edge, publisher, device)
    assert answers[-1]["type"] == "Accepted"
    assert counted(log) == 0
