"""An agent that only claims: a job begun and a job failed, again and again, and a heartbeat; until SIGTERM and all has arrived.

What it says stands in ``SCRIBE_DIRECTORY`` before it is sent, as with every agent, and on its output once it stands there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from edge.pool import POOL
from millpond.events.agent_claims import Heartbeat, JobFailed, JobStarted
from millpond.events.ids import job_id, lease_id
from millpond.identity import load_or_make_device_key
from millpond_agent.connection import Connection
from millpond_agent.messages import Accepted, FromEdge, Refused, Welcome
from millpond_agent.rules import is_final
from millpond_agent.session import Session

EVERY_S = 0.05


async def main(directory: Path, url: str) -> None:
    key = load_or_make_device_key(directory / "device.key")
    leaving = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, leaving.set)
    with Session(directory, key, POOL) as session:

        def heard(message: FromEdge) -> None:
            match message:
                case Welcome(last_accepted=last_accepted):
                    print("welcome", session.id, last_accepted, flush=True)
                case Accepted(sequence=sequence):
                    session.acknowledge(sequence)
                case Refused(sequence=sequence, reason=reason) if sequence is not None:
                    assert not is_final(reason), message

        async def turned_away(refused: Refused) -> None:
            print("turned away", refused.reason, flush=True)

        connection = Connection(
            url,
            key=key,
            pool=POOL,
            session=session,
            heard=heard,
            turned_away=turned_away,
            told=lambda sentence: print(sentence, flush=True),
        )
        connecting = asyncio.create_task(connection.run())
        n, told = 0, max((claim.sequence for claim in session.unacknowledged()), default=0)
        while not leaving.is_set():
            n += 1
            job = job_id("scribe", f"{os.getpid()}/{n}")
            attempt = {"job": job, "attempt": 1, "lease": lease_id(job, 1)}
            session.record(JobStarted, **attempt)
            session.record_end(JobFailed, outcome="failed", reason="crashed", sentence="So it goes.", **attempt)
            for claim in session.unacknowledged(behind=told):
                print("recorded", claim.payload, flush=True)
                told = claim.sequence
            connection.send_recorded()
            connection.send(session.sign(Heartbeat))
            await asyncio.sleep(EVERY_S)
        while not session.is_acknowledged:  # noqa: ASYNC110  # a session has no event for that
            await asyncio.sleep(EVERY_S)
        connecting.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(os.environ["SCRIBE_DIRECTORY"]), os.environ["SCRIBE_URL"]))
    sys.exit(0)
