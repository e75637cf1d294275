"""A pool on a real chain, a watcher on a real database, and the watchers that others wrote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from chain.anvil import CHAIN_ID, ORCHESTRATOR, opened
from chain.proxy import Proxy, before
from chain_watcher.watching import Watching, laid, watching
from millpond.chain.abi import Decoded
from millpond.chain.answers import Log
from millpond.chain.client import EvmClient
from millpond.chain.livepeer import LIVEPEER
from millpond.chain.rpc import Rpc
from millpond.events.chain_revenue import TicketRedeemed


@dataclass
class ChainWorld:
    """The watcher asks through ``proxy``; ``rpc`` is another client's connection, through the proxy as well."""

    watch: Watching
    proxy: Proxy
    rpc: Rpc

    def income(self) -> int:
        """What the pool would share out."""
        return sum(each.amount for each in self.watch.said(TicketRedeemed, "final"))

    async def pending_fees(self) -> int:
        """What Livepeer says."""
        call = LIVEPEER.call("pendingFees", ORCHESTRATOR.address, 0)
        bonding = self.watch.pool.livepeer.bonding
        found = LIVEPEER.answer("pendingFees", await self.watch.pool.anvil.client.call(bonding, call, "latest"))
        assert isinstance(found, int)
        return found

    async def receipts(self) -> int:
        """The same from every receipt of every block: slow, and beyond doubt."""
        client = self.watch.pool.anvil.client
        head = await client.header("latest")
        total = 0
        for block in await client.blocks(range(self.watch.from_block, head.number + 1)):
            for transaction in block.transactions:
                receipt = await client.receipt(transaction.hash)
                assert receipt is not None
                total += sum(amount_of(decoded) for log in receipt.logs if (decoded := self.transfer(log)))
        return total

    def transfer(self, log: Log) -> Decoded | None:
        """A transfer to our orchestrator, by the broker of this deployment."""
        decoded = LIVEPEER.decode(log) if log.address == self.watch.pool.livepeer.broker else None
        ours = decoded is not None and decoded.event == "WinningTicketTransfer"
        return decoded if decoded and ours and decoded.arguments["recipient"] == ORCHESTRATOR.address else None


def amount_of(decoded: Decoded) -> int:
    amount = decoded.arguments["amount"]
    assert isinstance(amount, int)
    return amount


@asynccontextmanager
async def chain_world(anvil_url: str, dsn: str, *, must_be_covered: bool = True) -> AsyncIterator[ChainWorld]:
    async with AsyncExitStack() as stack:
        anvil = await stack.enter_async_context(opened(anvil_url))
        proxy = await stack.enter_async_context(before(anvil_url))
        rpc = await stack.enter_async_context(Rpc(proxy.url))
        pool = (await laid(anvil, must_be_covered=must_be_covered)).pool(anvil)
        watch = await stack.enter_async_context(watching(pool, dsn))
        await watch.start(stack, proxy.url)
        await anvil.mine(2)
        await watch.look()
        yield ChainWorld(watch, proxy, rpc)


class NaiveWatcher:
    """Asks for the logs since it last asked, believes what it gets, and never looks back."""

    def __init__(self, world: ChainWorld, event: str, contract: str | None, field: str = "amount") -> None:
        self._world = world
        self._field = field
        self._client = EvmClient(world.rpc, CHAIN_ID)
        self._filter = {"topics": [LIVEPEER.topics[event]]} | ({} if contract is None else {"address": contract})
        self._next = world.watch.from_block
        self.income = 0

    async def look(self) -> None:
        head = int(await self._world.rpc.ask("eth_blockNumber"), 16)
        if head < self._next:
            return
        asked = {"fromBlock": hex(self._next), "toBlock": hex(head), **self._filter}
        for raw in await self._world.rpc.ask("eth_getLogs", asked) or []:
            decoded = LIVEPEER.decode(Log.model_validate(raw))
            if decoded is not None and decoded.arguments["recipient"] == ORCHESTRATOR.address:
                self.income += decoded.arguments[self._field]
        self._next = head + 1
