"""Seconds from 1,000 orders on the log until all are final: treasury and chain_watcher on Kafka, PostgreSQL and anvil."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.figure import Benchmark, Run
from chain.anvil import opened
from chain.proxy import before
from chain_watcher.watching import FINAL_BEHIND, laid
from incidents.treasury_world import orders_of
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.treasury_settlements import FloatAsked, PayoutSettled
from millpond.localstack import LocalStack
from rewards.story import contributor
from treasury.site import Site
from treasury.story import offered

PAYEES: Final = 1_000
# Accounts that the chain has never seen: the dearest payees there are.
AMOUNT_WEI: Final = 10**15
COMPONENTS: Final = ("kafka", "postgres", "anvil")


def measure(_: LocalStack) -> Run:
    with TemporaryDirectory() as directory, LocalStack(Path(directory) / "stack", COMPONENTS) as stack:
        return asyncio.run(_measure(stack, Path(directory)))


async def _measure(stack: LocalStack, directory: Path) -> Run:
    story = orders_of({contributor(number): AMOUNT_WEI + number for number in range(PAYEES)})
    async with opened(stack.anvil.url) as anvil, before(stack.anvil.url) as proxy:
        pool = (await laid(anvil)).pool(anvil)
        site = Site(stack, pool, proxy, directory, (await anvil.client.header("latest")).number + 1)
        await anvil.mine(FINAL_BEHIND)
        await site.open()
        mining = asyncio.create_task(site.blocks())
        try:
            await site.say(offered(), story.last(EpochClosed), story.last(Checkpoint))
            site.pay()
            # One order goes ahead: treasury is up once it looks into its wallet.
            first, *orders = story.all(PayoutOrdered)
            await site.say(first)
            await site.hears(FloatAsked)
            started_s = time.monotonic()
            await site.say(*orders)
            await site.hears(PayoutSettled, PAYEES)
            return Run(time.monotonic() - started_s)
        finally:
            mining.cancel()
            site.end()


PAYEES_1000: Final = Benchmark("treasury.payees_1000", "s", 30, "less", measure, runs=1, judged="value")
