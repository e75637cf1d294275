"""A watcher over a real chain and a real database; what it says stands on a log in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from chain.anvil import CHAIN_ID, GATEWAY, GATEWAY_KEY, ORCHESTRATOR, OWNER, STRANGER, TREASURY, Anvil
from millpond.chain.account import Signer
from millpond.chain.answers import Receipt
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy, send
from millpond.chain.payouts import PAYOUTS, Batch, Order
from millpond.chain.rpc import Rpc
from millpond.events.chain_transfers import ETH
from millpond.events.on_chain import AtBlock
from millpond.events.topics import CHAIN_REVENUE, CHAIN_TRANSFERS, TOPICS
from millpond.stream.database import Lease
from millpond.stream.log import Publisher
from millpond.stream.memory.log import MemoryLog, MemoryPublisher
from millpond.stream.postgres.database import PostgresDatabase, open_database
from millpond.stream.record import ITEM, Place
from millpond.stream.source import Source
from millpond.telemetry.metrics import Metrics
from millpond_chain_watcher.decoding import Watched
from millpond_chain_watcher.reading import ChainReader
from millpond_chain_watcher.store import WatcherStore, schema
from millpond_chain_watcher.watcher import Watcher
from millpond_demo.livepeer.protocol import Livepeer, deploy_livepeer

E = TypeVar("E", bound=AtBlock)
ETHER = 10**18
# anvil's "finalized" is so many blocks behind its head.
FINAL_BEHIND = 2


@dataclass
class Pool:
    """What the pool has on the chain, and who moves it."""

    anvil: Anvil
    livepeer: Livepeer
    payouts: str
    tickets: int = 0

    async def redeem(
        self, face_value: int, *, count: int = 1, recipient: Signer = ORCHESTRATOR, by: Signer = STRANGER
    ) -> Receipt:
        tickets = []
        for _ in range(count):
            self.tickets += 1
            tickets.append(
                await self.livepeer.ticket(
                    GATEWAY.address, recipient.address, face_value=face_value, sender_nonce=self.tickets
                )
            )
        return await self.livepeer.redeem(by, GATEWAY_KEY, *tickets)

    async def pay(self, slot: int, *orders: Order) -> Batch:
        batch = Batch(CHAIN_ID, self.payouts, slot, "0x" + "ab" * 32, ETH, orders)
        await send(self.anvil.client, TREASURY, to=self.payouts, data=batch.call(), value=batch.total)
        return batch


@dataclass
class Watching:
    """Watchers come and go; the database and the log stay."""

    pool: Pool
    database: PostgresDatabase
    lease: Lease
    from_block: int
    log: MemoryLog = field(default_factory=MemoryLog)
    watcher: Watcher | None = None
    targets: tuple[str, ...] = ()
    range_blocks_max: int = 10_000

    async def start(self, stack: AsyncExitStack, url: str) -> Watcher:
        """A new process, as it were, which asks ``url``."""
        rpc = await stack.enter_async_context(Rpc(url, answer_s=5))
        source = await stack.enter_async_context(
            Source("chain_watcher", self._publisher, Metrics(service="chain_watcher"), patience_s=5)
        )
        watched = Watched(
            chain_id=CHAIN_ID,
            controller=self.pool.livepeer.controller,
            orchestrator=ORCHESTRATOR.address,
            treasury=TREASURY.address,
            payouts=self.pool.payouts,
        )
        client = EvmClient(rpc, CHAIN_ID)
        self.watcher = Watcher(
            client=client,
            reader=ChainReader(client, watched, self.targets),
            store=WatcherStore(self.database, "the test's"),
            source=source,
            watched=watched,
            from_block=self.from_block,
            range_blocks_max=self.range_blocks_max,
            now_ms=lambda: 1_767_323_045_000,
        )
        return self.watcher

    async def look(self) -> None:
        """Until there is nothing more to read."""
        assert self.watcher is not None
        while await self.watcher.step(self.lease):
            pass

    async def settle(self) -> None:
        """Everything that stands on the chain becomes final, and is said."""
        await self.pool.anvil.mine(FINAL_BEHIND)
        await self.look()

    def said(self, kind: type[E], finality: str | None = None) -> list[E]:
        """What a reader that knows repeats by their items has read, in order."""
        found: dict[str, AtBlock] = {}
        for topic in (CHAIN_REVENUE, CHAIN_TRANSFERS):
            for record in self.log.slice(Place(topic.name, 0), 0, 1_000_000):
                item = (record.header(ITEM) or b"").decode()
                name = (record.header("ce_type") or b"").decode()
                event = TOPICS[topic.name].event_types[name].model_validate_json(record.value or b"")
                assert isinstance(event, AtBlock)
                # The same item always has the same bytes.
                assert found.setdefault(item, event) == event
        return [
            event
            for event in found.values()
            if isinstance(event, kind) and (finality is None or getattr(event, "finality", None) == finality)
        ]

    async def _publisher(self) -> Publisher:
        return MemoryPublisher(self.log)


@asynccontextmanager
async def watching(pool: Pool, dsn: str) -> AsyncIterator[Watching]:
    """Begins with the next block."""
    database = await open_database(dsn, "chain_watcher", service_schema=schema())
    try:
        lease = await database.try_lease("watcher", "test", 600)
        assert lease is not None
        head = await pool.anvil.client.header("latest")
        yield Watching(pool, database, lease, head.number + 1)
    finally:
        await database.close()


@dataclass(frozen=True)
class Foundation:
    """A registered orchestrator, a funded gateway and a payout contract, all of it final."""

    livepeer: Livepeer
    payouts: str

    def pool(self, anvil: Anvil) -> Pool:
        return Pool(anvil, replace(self.livepeer, client=anvil.client), self.payouts)


async def laid(anvil: Anvil, *, must_be_covered: bool = True) -> Foundation:
    livepeer = await deploy_livepeer(anvil.client, OWNER, must_be_covered=must_be_covered)
    await livepeer.register(ORCHESTRATOR)
    await livepeer.fund(GATEWAY, deposit=100 * ETHER)
    payouts = await deploy(anvil.client, OWNER, PAYOUTS, [OWNER.address, TREASURY.address])
    await anvil.mine(FINAL_BEHIND)
    return Foundation(livepeer, payouts)
