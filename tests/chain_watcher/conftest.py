"""A pool on a chain of the test's own state, and a watcher that begins to look."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack

import pytest

from chain.anvil import CHAIN_ID, Anvil, opened
from chain.proxy import Proxy, before
from chain_watcher.watching import Foundation, Pool, Watching, laid, watching
from millpond.chain.client import EvmClient
from millpond.chain.rpc import Rpc


@pytest.fixture(scope="session")
def foundation(anvil_url: str) -> Foundation:
    """Livepeer and the pool's contracts, made once: each test finds them as they were."""

    async def lay() -> Foundation:
        async with Rpc(anvil_url) as rpc:
            return await laid(Anvil(rpc, EvmClient(rpc, CHAIN_ID)))

    # In a thread of its own: an event loop may be about to run, or running, in this one.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, lay()).result()


@pytest.fixture
async def pool(foundation: Foundation, anvil_url: str) -> AsyncIterator[Pool]:
    async with opened(anvil_url) as anvil:
        yield foundation.pool(anvil)


@pytest.fixture
async def proxy(anvil_url: str) -> AsyncIterator[Proxy]:
    async with before(anvil_url) as proxy:
        yield proxy


@pytest.fixture
async def lives() -> AsyncIterator[AsyncExitStack]:
    """What ends with the test."""
    async with AsyncExitStack() as lives:
        yield lives


@pytest.fixture
async def watch(pool: Pool, database: str, lives: AsyncExitStack, proxy: Proxy) -> AsyncIterator[Watching]:
    """It asks through ``proxy``, and has opened its books."""
    async with watching(pool, database) as watch:
        await watch.start(lives, proxy.url)
        await pool.anvil.mine(2)
        await watch.look()
        yield watch
