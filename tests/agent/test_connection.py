"""What is sent first when there is much to say."""

from __future__ import annotations

import asyncio
from pathlib import Path

from agent.fake_edge import POOL, FakeEdge
from agent.samples import assigned
from agent.served import served
from millpond.events.agent_claims import Heartbeat, JobStarted
from millpond.identity import DeviceKey
from millpond_agent.connection import Connection
from millpond_agent.messages import FromEdge, Refused, Welcome
from millpond_agent.session import Session

KEY = DeviceKey(b"\x01" * 32)
JOB = assigned(device=KEY.device)
BACKLOG = 50


async def test_a_sign_of_life_does_not_wait_behind_a_backlog_of_results(tmp_path: Path) -> None:
    edge = FakeEdge()
    with Session(tmp_path, KEY, POOL) as session:
        for _ in range(BACKLOG):
            session.record(JobStarted, job=JOB.job, attempt=JOB.attempt, lease=JOB.lease)

        def heard(message: FromEdge) -> None:
            if isinstance(message, Welcome):
                connection.send(session.sign(Heartbeat))

        async def turned_away(refusal: Refused) -> None:
            raise AssertionError(refusal.sentence)

        async with served(edge.app) as url:
            connection = Connection(
                url, key=KEY, pool=POOL, session=session, heard=heard, turned_away=turned_away, told=print
            )
            running = asyncio.create_task(connection.run())
            await edge.until(lambda: len(edge.heard) == BACKLOG + 1)
            running.cancel()
    places = [place for place, each in enumerate(edge.heard) if each.type == "Heartbeat"]
    assert places == [1]
    # Results keep their order, whatever comes between.
    numbers = [each.claim.sequence for each in edge.of_type("JobStarted")]
    assert numbers == sorted(numbers)
