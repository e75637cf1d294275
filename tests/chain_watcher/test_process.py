"""The watcher as processes on real Kafka and PostgreSQL: one looks, one waits, and a kill loses nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import httpx
import pytest

from chain.anvil import ORCHESTRATOR, TREASURY
from chain_watcher.watching import Pool
from millpond.events.chain_revenue import TicketRedeemed
from millpond.events.topics import CHAIN_REVENUE, CHAIN_TRANSFERS
from stream.disasters import rows
from stream.topics_made import make_topics, read_all
from stream.workers import Worker, Workers, wait_until

# Only a watcher that hangs reaches it.
WITHIN_S = 120.0


@pytest.fixture
def settings(pool: Pool, anvil_url: str) -> dict[str, str]:
    return {
        "MILLPOND_CHAIN_RPC_URL": anvil_url,
        "MILLPOND_CHAIN_CONTROLLER": pool.livepeer.controller,
        "MILLPOND_CHAIN_ORCHESTRATOR": ORCHESTRATOR.address,
        "MILLPOND_CHAIN_TREASURY": TREASURY.address,
        "MILLPOND_CHAIN_PAYOUTS": pool.payouts,
        "MILLPOND_CHAIN_POLL_S": "0.05",
    }


async def test_a_standby_goes_on_where_the_killed_one_was(
    pool: Pool, settings: dict[str, str], kafka_bootstrap: str, database: str, tmp_path: Path
) -> None:
    await make_topics(kafka_bootstrap, (CHAIN_REVENUE, CHAIN_TRANSFERS))
    # As deep as finality is: what anvil calls final may have gone with a state that another test took back.
    await pool.anvil.mine(3)
    from_block = (await pool.anvil.client.header("finalized")).number + 1
    settings["MILLPOND_CHAIN_FROM_BLOCK"] = str(from_block)
    workers = Workers(kafka_bootstrap, database, tmp_path)
    hashes: set[str] = set()

    async def final(count: int) -> list[int]:
        # Other tests of the run may have said things about other states of this chain.
        found = {}
        for record in await read_all(kafka_bootstrap, CHAIN_REVENUE):
            if record.header("ce_type") == b"TicketRedeemed":
                event = TicketRedeemed.model_validate_json(record.value or b"")
                if event.finality == "final" and event.transaction in hashes:
                    found[record.header("item")] = event.amount
        return list(found.values()) if len(found) >= count else []

    async def active() -> int:
        if await rows(database, "public", "SELECT to_regclass('chain_watcher.leases')") == [(None,)]:
            return 0
        found = await rows(database, "chain_watcher", "SELECT owner FROM leases WHERE name = 'watcher'")
        return int(found[0][0].rpartition("/")[2]) if found and found[0][0] else 0

    try:
        aboard = [workers.start("watcher", program="millpond_chain_watcher", **settings) for _ in range(2)]
        first = await wait_until(active, WITHIN_S)
        hashes.add((await pool.redeem(11)).transaction_hash)
        os.kill(first, signal.SIGKILL)
        hashes.add((await pool.redeem(22)).transaction_hash)
        await pool.anvil.mine(3)
        assert await wait_until(lambda: final(2), WITHIN_S) == [11, 22]
        (left,) = [each for each in aboard if each.pid != first]
        assert await wait_until(lambda: ready(left), WITHIN_S)
        left.terminate()
    finally:
        workers.end()


async def ready(worker: Worker) -> bool:
    async with httpx.AsyncClient() as client:
        return (await client.get(f"http://127.0.0.1:{worker.health_port}/ready")).status_code == 200


async def test_without_its_settings_it_says_what_is_missing(
    kafka_bootstrap: str, database: str, tmp_path: Path
) -> None:
    workers = Workers(kafka_bootstrap, database, tmp_path)
    try:
        worker = workers.start("watcher", program="millpond_chain_watcher")
        await wait_until(lambda: not worker.running, WITHIN_S)
        assert worker.process.returncode == 1
        assert "MILLPOND_CHAIN_CONTROLLER is not set" in worker.log_text()
    finally:
        workers.end()
