"""The story that the demo plays: a pool, two contributors, a video, a machine that dies, every segment counted, and paid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from millpond.errors import MillpondError
from millpond.events.agent_claims import JobStarted
from millpond.events.event import Event
from millpond.events.scheduler_assignments import AttemptClosed, JobAssigned
from millpond.events.treasury_settlements import SlotSigned
from millpond.localstack import LocalStack
from millpond_cli.gateway.client import EdgeClient
from millpond_cli.gateway.progress import OnEvent, Planned, SendEvent
from millpond_cli.gateway.send import SendResult, send
from millpond_cli.gateway.source import probe
from millpond_demo.chain import Chain, opened
from millpond_demo.chaos import Chaos
from millpond_demo.contributors import Machine, join_all, lend_machines, set_up_all
from millpond_demo.examination import compare, examine
from millpond_demo.ledger import Ledger, Money
from millpond_demo.payday import Payday
from millpond_demo.pool import SERVICES, Pool
from millpond_demo.programs import Programs
from millpond_demo.screen import Screen
from millpond_demo.summary import Summary, sum_up
from millpond_demo.watch import Seen, Watch, watching

RENDITIONS: Final = ("240p", "360p", "480p")
SEGMENT_S: Final = 1.0
ONLINE_S_MAX: Final = 60.0
# From the last rendition to the last usage line; more when a program is killed again and again.
COUNTED_S_MAX: Final = 90.0
RECEIPTS_S_MAX: Final = 60.0

Done = TypeVar("Done")


class TooLong(MillpondError):
    """{what} after {limit_s:.0f} s. The programs' logs are in {logs}."""


@dataclass(frozen=True)
class Told:
    """How it came out. ``receipt``: the file that was verified. ``…_says``: what `millpond` printed on checking."""

    summary: Summary
    money: Money
    ledger: Ledger
    files: dict[str, Path]
    receipt: Path
    receipt_says: str
    audit_says: str
    kills: int


class Story:
    """``directory`` is empty but for its lock, ``lock``. ``victim``: what is killed every few seconds, or None."""

    def __init__(self, directory: Path, lock: int, video: Path, victim: str | None, screen: Screen) -> None:
        self.directory = directory
        self.video = video
        self.victim = victim
        self.screen = screen
        self.stack = LocalStack(directory / "stack")
        self.programs = Programs(directory / "programs", lock=lock, told=screen.note)
        self.machines = lend_machines(directory)
        self.pool: Pool

    @asynccontextmanager
    async def played(self) -> AsyncIterator[Told]:
        """The pool stays up until the block ends. Raises ``MillpondError`` when anything is not as promised."""
        try:
            with self.screen.step("Kafka, PostgreSQL and a chain run; two wallets have delegated three machines"):
                await _both(asyncio.to_thread(self.stack.__enter__), set_up_all(self.machines))
            async with opened(self.stack.anvil.url, self.directory / "keys") as chain:
                await self._set_up(chain)
                async with watching(self.stack.kafka.bootstrap_servers) as watch:
                    await self._open(watch)
                    yield await self._play(watch)
        finally:
            await self.programs.stop()
            await asyncio.to_thread(self.stack.close)

    async def _set_up(self, chain: Chain) -> None:
        self.pool = Pool(self.directory, self.stack, chain, self.programs)
        with self.screen.step("topics, a role for each service, the key of the receipts"):
            await self.pool.lay_out()
        with self.screen.step(f"{', '.join(SERVICES)} run, each a process"):
            self.pool.start_services()
            await self.programs.wait_until_ready(SERVICES)
            self.programs.watch()

    async def _open(self, watch: Watch) -> None:
        with self.screen.step("the operator has published terms and admitted a gateway"):
            await _both(self.pool.publish_terms(), self.pool.admit_gateway())
        with self.screen.step("the machines have joined, and are online"):
            await join_all(self.pool, self.machines)
            devices = {machine.device for machine in self.machines}
            everyone = watch.until(lambda seen: devices <= {k for k, v in seen.online.items() if v == "online"})
            await self._within(ONLINE_S_MAX, everyone, "not every machine is online")

    async def _play(self, watch: Watch) -> Told:
        watch.listeners.append(self._tell)
        async with self._chaos(watch) as chaos:
            with self.screen.under_way(watch, self.machines) as told:
                sent, planned = await self._send(watch, told)
                await self._within(COUNTED_S_MAX, watch.until(_all_counted), "not every job is counted")
            with self.screen.step("every frame of every rendition is decoded"):
                await asyncio.to_thread(self._examine, sent, planned)
            payday = Payday(self.pool, watch, self.screen, self._within)
            await payday.pay()
        with self.screen.step("every job was finished once, and counted once; every wei is accounted for"):
            # What would be one too many stands there by now.
            await self._within(COUNTED_S_MAX, watch.caught_up(), "the topics can't be read to their end")
            summary, money = sum_up(watch.seen, self.machines), await payday.balance(self._contributors())
        audit = await payday.audit()
        with self.screen.step("a contributor verifies a receipt, with nothing but the pool's public key"):
            receipt = await self._receipt(watch.seen)
            says = await self.pool.command("receipt", "verify", str(receipt), "--key", self.pool.receipt_key)
        return Told(summary, money, watch.seen.ledger, sent.files, receipt, says, audit, chaos.kills if chaos else 0)

    def _contributors(self) -> list[str]:
        return sorted({machine.owner.address for machine in self.machines})

    async def _send(self, watch: Watch, told: OnEvent) -> tuple[SendResult, Planned]:
        """As a gateway does; meanwhile a machine dies on its own first job."""
        plans: list[Planned] = []

        def tell(event: SendEvent) -> None:
            if isinstance(event, Planned):
                plans.append(event)
            told(event)

        renditions = self.directory / "renditions"
        renditions.mkdir()
        watch.listeners.append(self._killer(self.machines[1]))
        async with EdgeClient.open(self.pool.url, self.pool.api_key) as client:
            sent = await send(self.video, RENDITIONS, client, renditions, tell, segment_s=SEGMENT_S)
        return sent, plans[0]

    def _killer(self, machine: Machine) -> Callable[[Event], None]:
        """SIGKILL to ``machine`` as soon as it says that a job has begun."""

        def listen(event: Event) -> None:
            program = self.programs[machine.name]
            if isinstance(event, JobStarted) and event.device == machine.device and program.wanted:
                program.wanted = False
                self.screen.note(f"{machine.name} has begun job {event.claim.job[:8]} and is killed.")
                asyncio.get_running_loop().run_in_executor(None, program.kill)

        return listen

    def _tell(self, event: Event) -> None:
        names = {machine.device: machine.name for machine in self.machines}
        match event:
            case AttemptClosed(outcome="lost"):
                name = names.get(event.device, event.device)
                self.screen.note(f"job {event.job[:8]} is lost on {name}: {event.sentence}")
            case JobAssigned() if event.attempt > 1:
                self.screen.note(f"job {event.job[:8]} goes to {names.get(event.device, event.device)}.")

    @asynccontextmanager
    async def _chaos(self, watch: Watch) -> AsyncIterator[Chaos | None]:
        if self.victim is None:
            yield None
            return
        if self.victim == "treasury":
            watch.listeners.append(self._kill_treasury_on_signing)
        chaos = Chaos(self.victim, self.programs, self.stack, self.screen.note)
        killing = asyncio.create_task(chaos.run())
        try:
            yield chaos
        finally:
            killing.cancel()
            with suppress(asyncio.CancelledError):
                await killing

    def _kill_treasury_on_signing(self, event: Event) -> None:
        """At the worst moment: what is signed stands on the topic, and may or may not have been sent."""
        if isinstance(event, SlotSigned) and event.version == 1:
            self.screen.note(f"treasury has signed slot {event.slot} and is killed.")
            asyncio.get_running_loop().run_in_executor(None, self.programs["treasury"].kill)

    def _examine(self, sent: SendResult, planned: Planned) -> None:
        has_audio = probe(self.video).audio is not None
        for rendition in planned.renditions:
            examined = examine(sent.files[rendition.name])
            compare(examined, rendition, frames=sent.frames, duration_s=sent.duration_s, has_audio=has_audio)

    async def _receipt(self, seen: Seen) -> Path:
        """One of a machine that has them all. Raises ``TooLong``."""

        async def come() -> Path:
            while True:
                for machine in self.machines:
                    lines = sum(line.device == machine.device for line in seen.lines)
                    if self.programs[machine.name].wanted and lines and len(machine.receipts) >= lines:
                        return machine.receipts[0]
                await asyncio.sleep(0.1)

        return await self._within(RECEIPTS_S_MAX, come(), "no machine has its receipts")

    async def _within(self, limit_s: float, work: Awaitable[Done], what: str) -> Done:
        try:
            return await asyncio.wait_for(work, limit_s)
        except TimeoutError as error:
            raise TooLong(what=what, limit_s=limit_s, logs=self.directory / "programs") from error


def _all_counted(seen: Seen) -> bool:
    return bool(seen.requested) and seen.requested <= seen.counted


async def _both(*work: Coroutine[Any, Any, Any]) -> None:
    """The first that fails ends the other, and is what is raised."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for each in work:
                tasks.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
