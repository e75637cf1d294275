"""``millpond agent run``: wiring, signals, and the way out."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog
from rich.console import Console

from millpond.identity import DeviceKey, load_or_make_device_key
from millpond_agent.activity import Activity
from millpond_agent.agent import Agent
from millpond_agent.edge_client import EdgeClient, edge_client
from millpond_agent.errors import EdgeAway, EdgeRefused, EdgeUnknown
from millpond_agent.membership import Membership, read_membership, remember_pool
from millpond_agent.session import Figures, Session
from millpond_agent.settings import AgentSettings
from millpond_agent.stations import stations
from millpond_agent.view import shown

KEY_FILE = "device.key"
GOODBYE_S_MAX = 3.0

log = structlog.get_logger(__name__)


class Ending:
    """``asked`` by the first signal: finish what runs. ``insisted`` by the second: now."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.insisted = asyncio.Event()

    def ask(self) -> None:
        (self.insisted if self.asked.is_set() else self.asked).set()


async def run_agent(settings: AgentSettings, console: Console, *, plain: bool) -> None:
    """Until a signal. Raises an ``AgentEnds``, or ``EdgeAway`` if a pool that was never joined can't be reached."""
    key = load_or_make_device_key(settings.directory / KEY_FILE)
    membership = read_membership(settings.directory)
    url = settings.edge or (membership.edge if membership else None)
    if url is None:
        raise EdgeUnknown
    with _signals() as ending:
        async with edge_client(url, key) as edge:
            pool = await _pool(settings, edge, membership)
            with Session(settings.directory, key, pool) as session:
                await _run(settings, console, ending, plain=plain, key=key, pool=pool, edge=edge, session=session)


async def _run(
    settings: AgentSettings,
    console: Console,
    ending: Ending,
    *,
    plain: bool,
    key: DeviceKey,
    pool: str,
    edge: EdgeClient,
    session: Session,
) -> None:
    activity = Activity(pool, edge.url, key.device, contributor=None, figures=Figures(0, 0, 0, 0, 0, 0))
    work = settings.directory / "work"
    # Inputs of an agent that was killed: who needs them gets them anew.
    await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)
    work.mkdir()
    with shown(activity, console, plain=plain):
        activity.tell(f"Device {key.device} starts its runner.")
        async with stations(settings, activity.tell_bad) as found:
            activity.gpus = tuple(station.gpu for station in found)
            for gpu in activity.gpus:
                activity.tell(f"{gpu.model}: {_jobs(gpu.slots)} at once ({gpu.kind}).")
            agent = Agent(settings, key=key, pool=pool, session=session, edge=edge, stations=found, activity=activity)
            asking = asyncio.create_task(_ask_contributor(edge, activity))
            try:
                await _live(agent, ending, settings.stop_s, activity)
            finally:
                asking.cancel()


async def _live(agent: Agent, ending: Ending, stop_s: float, activity: Activity) -> None:
    running = asyncio.create_task(agent.run())
    asked = asyncio.create_task(ending.asked.wait())
    try:
        await asyncio.wait({running, asked}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            return running.result()
        activity.is_leaving = True
        running_jobs = f"finishing {_jobs(agent.jobs_running)}" if agent.jobs_running else "nothing runs"
        activity.tell(f"Leaving: {running_jobs}. A second Ctrl-C ends at once.")
        await _leave(agent, ending, stop_s)
        activity.tell("Goodbye.")
    finally:
        for task in (running, asked):
            task.cancel()
        await asyncio.gather(running, asked, return_exceptions=True)


async def _leave(agent: Agent, ending: Ending, stop_s: float) -> None:
    leaving = asyncio.create_task(agent.leave(stop_s))
    insisted = asyncio.create_task(ending.insisted.wait())
    await asyncio.wait({leaving, insisted}, return_when=asyncio.FIRST_COMPLETED)
    insisted.cancel()
    if not leaving.done():
        leaving.cancel()
        with suppress(TimeoutError):
            await asyncio.wait_for(agent.leave(0), GOODBYE_S_MAX)


async def _pool(settings: AgentSettings, edge: EdgeClient, membership: Membership | None) -> str:
    """The pool's name: signatures count for it only. A pool that was joined before need not answer now."""
    try:
        found = await edge.pool()
    except (EdgeAway, EdgeRefused):
        if membership is None:
            raise
        edge.signs_for(membership.pool)
        return membership.pool
    remember_pool(settings.directory, edge.url, found)
    return found.pool


async def _ask_contributor(edge: EdgeClient, activity: Activity) -> None:
    """For the header only: no reason to stop if nobody answers."""
    while activity.contributor is None:
        with suppress(EdgeAway, EdgeRefused):
            activity.contributor = (await edge.device()).contributor
        await asyncio.sleep(5)


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


@contextmanager
def _signals() -> Iterator[Ending]:
    ending = Ending()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, ending.ask)
    try:
        yield ending
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
