"""Reads a range of blocks in full: all that concerns the pool, of one branch of the chain, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, get_args

from millpond.chain.answers import Block, BlockId, Header, Log, Transaction
from millpond.chain.client import EvmClient
from millpond.chain.livepeer import LIVEPEER, check_topics, contract_id
from millpond.chain.payouts import PAYOUTS
from millpond.errors import MillpondError
from millpond.events.chain_revenue import ClaimableSnapshot
from millpond_chain_watcher.decoding import EMITTERS, SLOTS, Decoder, Watched, changes, times
from millpond_chain_watcher.rules import Contract, Contracts, Sighting

# Questions that go into one request; more at once are refused by some nodes.
TOGETHER_MAX: Final = 50


class ChainMoved(MillpondError):
    """Block {number} was {before} and is {after} now: the chain was reorganised during the look. It is looked at again."""


class TransactionsMissing(MillpondError):
    """{sender} sent {expected} transactions from block {first} to {last}, but {found} were found in these blocks. The node's
    answers don't fit together; it is asked again."""


@dataclass(frozen=True)
class Look:
    """All that concerns the pool in a range, and which contract has which name at its end."""

    sightings: list[Sighting]
    contracts: Contracts


class ChainReader:
    """Each method raises ``ChainError``s, and then nothing it read is to be believed."""

    def __init__(self, client: EvmClient, watched: Watched, targets: Sequence[str]) -> None:
        check_topics()
        self._client = client
        self._watched = watched
        self._targets = targets

    async def opening(self, at: int) -> tuple[Header, Contracts, int]:
        """A block, which contract has which name at its end, and what the orchestrator can claim then."""
        names: tuple[Contract, ...] = get_args(Contract)
        calls = [
            (self._watched.controller, LIVEPEER.call("getContract", bytes.fromhex(contract_id(n)[2:]))) for n in names
        ]
        header = await self._client.header(at)
        answers = await self._client.calls(calls, at)
        contracts = Contracts({n: LIVEPEER.answer("getContract", a) for n, a in zip(names, answers, strict=True)})
        snapshot = await self.snapshot(header, contracts)
        await self.check_unmoved(header.id)
        return header, contracts, snapshot.pending_fees

    async def look(self, *, since: int, first: int, last: BlockId, contracts: Contracts) -> Look:
        """Everything from block ``first`` to ``last``. ``contracts`` as they stood at the end of block ``since``."""
        renamed = await self._client.logs(
            since + 1, last, [self._watched.controller], [LIVEPEER.topics["SetContractInfo"]]
        )
        contracts = Contracts(contracts.addresses, changes(renamed, self._targets))
        topics = [LIVEPEER.topics[event] for event in EMITTERS]
        revenue = await self._client.logs(first, last, contracts.all(), topics)
        slots = await self._client.logs(
            first, last, [self._watched.payouts], [PAYOUTS.abi.topics[event] for event in SLOTS]
        )
        blocks = await self._blocks_with_transactions(first, last.number)
        decoder = Decoder(self._watched, times([*blocks, *await self._headers_of([*revenue, *slots])]))
        sightings = [
            *decoder.revenue(revenue, contracts),
            *decoder.slots(slots),
            *[await self._transaction(decoder, block, each) for block in blocks for each in self._own(block)],
        ]
        await self.check_unmoved(last)
        return Look(sorted(sightings, key=_place), contracts)

    async def snapshot(self, header: Header, contracts: Contracts) -> ClaimableSnapshot:
        """What Livepeer says at the end of a block. Its second argument is ignored there."""
        bonding = contracts.at("BondingManager", header.number + 1, -1)
        asked = [(bonding, LIVEPEER.call(f, self._watched.orchestrator, 0)) for f in ("pendingFees", "pendingStake")]
        fees, stake = await self._client.calls(asked, header.number)
        return ClaimableSnapshot(
            chain_id=self._watched.chain_id,
            block_number=header.number,
            block_hash=header.hash,
            block_time=header.time,
            orchestrator=self._watched.orchestrator,
            pending_fees=LIVEPEER.answer("pendingFees", fees),
            pending_stake=LIVEPEER.answer("pendingStake", stake),
        )

    async def canonical(self, numbers: Iterable[int]) -> dict[int, str]:
        """The hashes of these blocks in the chain as it is now."""
        return {header.number: header.hash for header in await self._headers(sorted(set(numbers)))}

    async def check_unmoved(self, block: BlockId) -> None:
        """Raises ``ChainMoved`` unless the block is still there: then all below it is, too."""
        now = await self._client.header(block.number)
        if now.hash != block.hash:
            raise ChainMoved(number=block.number, before=block.hash, after=now.hash)

    async def _headers(self, numbers: Sequence[int]) -> list[Header]:
        return [header for some in _batches(numbers, TOGETHER_MAX) for header in await self._client.headers(some)]

    async def _headers_of(self, logs: Iterable[Log]) -> list[Header]:
        """Of the blocks that hold these logs; each must be the very block that the log names."""
        named = {log.block_number: log.block_hash for log in logs}
        headers = await self._headers(sorted(named))
        for header in headers:
            if header.hash != named[header.number]:
                raise ChainMoved(number=header.number, before=named[header.number], after=header.hash)
        return headers

    async def _blocks_with_transactions(self, first: int, last: int) -> list[Block]:
        """The blocks in which treasury sent something: its nonce says how many, so that none is missed."""
        before, after = await self._client.nonces(self._watched.treasury, [first - 1, last])
        numbers = await self._numbers(first, last, before, after)
        blocks = [block for some in _batches(numbers, TOGETHER_MAX) for block in await self._client.blocks(some)]
        found = sum(len(self._own(block)) for block in blocks)
        if found != after - before:
            facts = {"sender": self._watched.treasury, "first": first, "last": last}
            raise TransactionsMissing(**facts, expected=after - before, found=found)
        return blocks

    async def _numbers(self, first: int, last: int, before: int, after: int) -> list[int]:
        if before >= after:
            return []
        if first == last:
            return [first]
        middle = (first + last) // 2
        (between,) = await self._client.nonces(self._watched.treasury, [middle])
        return [
            *await self._numbers(first, middle, before, between),
            *await self._numbers(middle + 1, last, between, after),
        ]

    def _own(self, block: Block) -> list[Transaction]:
        return [each for each in block.transactions if each.sender == self._watched.treasury]

    async def _transaction(self, decoder: Decoder, block: Block, transaction: Transaction) -> Sighting:
        receipt = await self._client.receipt(transaction.hash)
        found = None if receipt is None else receipt.block_hash
        if receipt is None or found != block.hash:
            raise ChainMoved(number=block.number, before=block.hash, after=found)
        return decoder.transaction(transaction, receipt)


def _place(sighting: Sighting) -> tuple[int, int]:
    # In the order of the chain; a transaction stands behind the logs of its block.
    event = sighting.event
    return event.block_number, getattr(event, "log_index", 2**63)


def _batches(numbers: Sequence[int], size: int) -> Iterable[list[int]]:
    return ([*numbers[start : start + size]] for start in range(0, len(numbers), size))
