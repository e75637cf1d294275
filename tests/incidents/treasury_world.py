"""Treasury's rules and hands on a real chain, and the payers that others wrote.

A step is one transaction of the stream library: what was read, what was found out, what was decided. Kafka and the
database are these lists: that the library keeps its word has tests of its own. A process that dies loses its step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from chain.anvil import CHAIN_ID, ORCHESTRATOR, OWNER, TREASURY, Anvil, opened
from chain.proxy import Proxy, before
from millpond.chain.account import SignedTransaction, Transfer
from millpond.chain.client import EvmClient
from millpond.chain.deploy import deploy
from millpond.chain.payouts import PAYOUTS
from millpond.chain.rpc import Rpc
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.event import Event
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.treasury_settlements import PayoutSettled, SlotSigned
from millpond.stream.decision import Decision, Received, Tick
from millpond.stream.record import Place
from millpond_treasury.rules import State, Treasury, decide
from millpond_treasury.wallet import Wallet
from rewards.story import DOMAIN, START_MS, TOPIC_OF, Story, commission, line, terms, ticket
from treasury.story import offered

Dies = Literal["before", "after"]
STEPS_MAX = 2_000


def orders_of(amounts: Mapping[str, int]) -> Story:
    """An epoch that earns everybody exactly this, and orders it."""
    story = Story()
    story.tell(terms(split=commission(0)), ticket(sum(amounts.values()), number=1))
    story.tell(*(line(who, 1, number=number, wei=amount) for number, (who, amount) in enumerate(amounts.items())))
    story.close()
    return story.wait(60)


@dataclass
class TreasuryWorld:
    """``state`` and ``log`` are what was committed; ``read`` is how far it has read its own words back.

    ``refuses``: the database takes nothing. ``stalled``: the chain makes no block.
    """

    anvil: Anvil
    proxy: Proxy
    rpc: Rpc
    contract: str
    treasury: Treasury
    wallet: Wallet
    state: State = field(default_factory=State)
    log: list[Event] = field(default_factory=list)
    read: int = 0
    due_ms: int | None = None
    now_ms: int = START_MS + 3_600_000
    seen_block: int = 0
    sent: list[str] = field(default_factory=list)
    refuses: bool = False
    stalled: bool = False

    def order(self, amounts: Mapping[str, int]) -> None:
        story = orders_of(amounts)
        self.hear(offered(), story.last(EpochClosed), story.last(Checkpoint), *story.all(PayoutOrdered))

    def hear(self, *events: Event) -> None:
        for event in events:
            self._commit(decide(self.state, self._received(event), treasury=self.treasury))

    async def step(self, dies: Dies | None = None) -> Event | None:
        """The next thing: an own word read back (which is returned), else a tick, else a second passes and a block comes.

        ``dies``: the process is killed before it asks or sends, or after that and before it commits.
        """
        if self.read < len(self.log):
            event = self.log[self.read]
            if dies == "before":
                return event
            received = self._received(event)
            finding = await self.wallet.observe(received)
            if dies is None and not self.refuses:
                self.read += 1
                self._commit(decide(self.state, received._replace(finding=finding), treasury=self.treasury))
            return event
        if self.due_ms is not None and self.due_ms <= self.now_ms and not self.refuses:
            self.due_ms = None
            self._commit(decide(self.state, Tick("turn", self.now_ms), treasury=self.treasury))
            return None
        await self.pass_time(1)
        return None

    async def pass_time(self, seconds: int) -> None:
        self.now_ms += seconds * 1000
        if not self.stalled:
            await self.anvil.mine()
        await self._watch()

    async def settle(self, count: int) -> list[PayoutSettled]:
        """Until so many orders have their last word."""
        for _ in range(STEPS_MAX):
            if len(found := self.all_settled()) >= count:
                return found
            await self.step()
        raise AssertionError(f"{len(self.all_settled())} of {count} are settled; last: {self.log[-5:]}")

    @asynccontextmanager
    async def fee_of(self, wei: int) -> AsyncIterator[None]:
        """The next block's base fee, a unit of gas; from there it finds its own way. Put back in the end."""
        before = (await self.anvil.client.header("latest")).base_fee_per_gas
        await self.anvil.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(wei))
        await self.anvil.mine()
        try:
            yield
        finally:
            # The chain's snapshot doesn't hold it.
            await self.anvil.rpc.ask("anvil_setNextBlockBaseFeePerGas", hex(before))

    @asynccontextmanager
    async def stall(self) -> AsyncIterator[None]:
        """The chain takes transactions, and makes no block."""
        await self.anvil.rpc.ask("evm_setAutomine", False)
        self.stalled = True
        try:
            yield
        finally:
            self.stalled = False
            await self.anvil.rpc.ask("evm_setAutomine", True)

    async def until_signed(self) -> SlotSigned:
        """It stands on the log, and has not been read back."""
        for _ in range(STEPS_MAX):
            if self.read < len(self.log) and isinstance(signed := self.log[self.read], SlotSigned):
                return signed
            await self.step()
        raise AssertionError("nothing is signed")

    def all_settled(self) -> list[PayoutSettled]:
        return [event for event in self.log if isinstance(event, PayoutSettled)]

    def signed(self) -> set[str]:
        """Hashes of all that was ever signed."""
        return {event.transaction for event in self.log if isinstance(event, SlotSigned)}

    async def balance(self, who: str) -> int:
        return await self.anvil.client.balance(who, "latest")

    async def gas_paid(self) -> int:
        """Of treasury's transactions, mined from here on."""
        receipts = [await self.anvil.client.receipt(each) for each in self.signed()]
        return sum(each.gas_used * each.effective_gas_price for each in receipts if each is not None)

    def copy(self) -> TreasuryWorld:
        """Another process on a copy of the database as it is now."""
        return replace(self, log=[*self.log], sent=[])

    def _commit(self, decision: Decision[State]) -> None:
        self.state = decision.state
        for timer in decision.timers:
            self.due_ms = timer.at_ms
        self.log += [outgoing.event for outgoing in decision.events]

    def _received(self, event: Event) -> Received:
        topic = TOPIC_OF[type(event)]
        return Received(topic.name, Place(topic.name, 0), 0, "key", event, self.now_ms, event.to_bytes())

    async def _watch(self) -> None:
        """What chain_watcher says once it is final: here, once it is in a block."""
        head = await self.anvil.client.header("latest")
        if head.number <= self.seen_block:
            return
        topics = [PAYOUTS.abi.topics["SlotFilled"], PAYOUTS.abi.topics["PayeeUnpaid"]]
        for log in await self.anvil.client.logs(self.seen_block + 1, head.id, [self.contract], topics):
            decoded = PAYOUTS.abi.decode(log)
            assert decoded is not None
            kind = {"SlotFilled": SlotFilled, "PayeeUnpaid": PayeeUnpaid}[decoded.event]
            names = {"epochRoot": "epoch_root", "unpaidTotal": "unpaid_total"}
            facts = {names.get(name, name): value for name, value in decoded.arguments.items()}
            place = {
                "chain_id": CHAIN_ID,
                "block_number": log.block_number,
                "block_hash": log.block_hash,
                "block_time": head.time,
                "transaction": log.transaction_hash,
                "finality": "final",
                "log_index": log.log_index,
                "contract": self.contract,
            }
            self.hear(kind(**place, **facts))
        for block in await self.anvil.client.blocks(range(self.seen_block + 1, head.number + 1)):
            for each in block.transactions:
                if each.sender == TREASURY.address:
                    receipt = await self.anvil.client.receipt(each.hash)
                    assert receipt is not None
                    self.hear(
                        TreasuryTransaction(
                            chain_id=CHAIN_ID,
                            block_number=block.number,
                            block_hash=block.hash,
                            block_time=block.time,
                            transaction=each.hash,
                            finality="final",
                            sender=each.sender,
                            nonce=each.nonce,
                            to=each.to,
                            succeeded=receipt.status == 1,
                            gas_used=receipt.gas_used,
                            gas_paid=receipt.gas_used * receipt.effective_gas_price,
                            value=each.value,
                        )
                    )
        self.seen_block = head.number


@asynccontextmanager
async def treasury_world(anvil_url: str, *, orders_max: int = 400) -> AsyncIterator[TreasuryWorld]:
    """It asks through ``proxy``; ``rpc`` is another client's connection, through the proxy as well."""
    async with AsyncExitStack() as stack:
        anvil = await stack.enter_async_context(opened(anvil_url))
        proxy = await stack.enter_async_context(before(anvil_url))
        rpc = await stack.enter_async_context(Rpc(proxy.url))
        contract = await deploy(anvil.client, OWNER, PAYOUTS, [OWNER.address, TREASURY.address])
        world: list[TreasuryWorld] = []
        wallet = Wallet(
            rpc_url=proxy.url,
            chain_id=CHAIN_ID,
            payer=TREASURY,
            orchestrator=None,
            contract=contract,
            controller=contract,
            fee_per_gas_max=100 * 10**9,
            now_ms=lambda: world[0].now_ms,
        )
        treasury = Treasury(
            domain=DOMAIN,
            operators=frozenset(),
            address=TREASURY.address,
            contract=contract,
            orchestrator=ORCHESTRATOR.address,
            withdraws=False,
            orders_max=orders_max,
            bump_after_ms=3_600_000,
            send_again_ms=1_000,
        )
        head = await anvil.client.header("latest")
        world.append(TreasuryWorld(anvil, proxy, rpc, contract, treasury, wallet, seen_block=head.number))
        yield world[0]


class NaivePayer:
    """Keeps balances, pays each by a transfer of its own, and has ideas about what an answer means."""

    def __init__(self, world: TreasuryWorld, owed: Mapping[str, int]) -> None:
        self.client = EvmClient(world.rpc, CHAIN_ID)
        self.owed = dict(owed)

    async def sign(self, who: str, amount: int, nonce: int | None = None, gas: int = 60_000) -> SignedTransaction:
        if nonce is None:
            # What it has sent itself may not be mined yet.
            (nonce,) = await self.client.nonces(TREASURY.address, ["pending"])
        transfer = Transfer(CHAIN_ID, nonce, who, amount, b"", gas, 100 * 10**9, 10**9)
        return TREASURY.sign(transfer)


def error(answer: Any, message: str) -> dict[str, Any]:
    """What a node says instead of its answer."""
    return {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": -32000, "message": message}}
