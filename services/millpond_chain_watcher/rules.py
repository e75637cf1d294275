"""What is to be said about the chain, given what was said before and what it shows now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from millpond.errors import MillpondError
from millpond.events.chain_revenue import (
    ClaimableSnapshot,
    FeesWithdrawn,
    IncomeReconciled,
    IncomeUnexplained,
    RoundStarted,
    TicketRedeemed,
)
from millpond.events.on_chain import AtBlock, InTransaction, item_of

# How often a difference is looked at again before it is said: one node of several may have been behind.
LOOKS_AT_A_DIFFERENCE: Final = 3

Contract = Literal["TicketBroker", "BondingManager", "RoundsManager"]


class SightingMissing(MillpondError):
    """The node has block {block_number} {block_hash} as before, but no longer what was seen in it ({item}). A block's content
    can't change: the answer is not believed, and asked for again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Something in a block, as ``observed``: ``key`` is its record's."""

    topic: str
    key: str
    event: InTransaction

    @property
    def item(self) -> str:
        return item_of(self.event)


@dataclass(frozen=True, slots=True)
class News:
    """An event to be published."""

    topic: str
    key: str
    event: AtBlock


@dataclass(frozen=True, slots=True)
class ContractNamed:
    """The Controller named ``address`` for a contract, from this log on."""

    block_number: int
    log_index: int
    contract: Contract
    address: str


@dataclass(frozen=True, slots=True)
class Contracts:
    """Which address has which name: at the end of a block, and what changed after it, in order."""

    addresses: Mapping[Contract, str]
    changes: tuple[ContractNamed, ...] = ()

    def at(self, contract: Contract, block_number: int, log_index: int) -> str:
        """The one that the Controller named when that log was written."""
        return self._until(contract, (block_number, log_index))

    def after(self, block_number: int) -> Contracts:
        """As it stands at the end of that block, without what comes later."""
        behind = (block_number + 1, -1)
        return Contracts({contract: self._until(contract, behind) for contract in self.addresses})

    def all(self) -> set[str]:
        """Every address that had a name at any time."""
        return {*self.addresses.values(), *(change.address for change in self.changes)}

    def _until(self, contract: Contract, end: tuple[int, int]) -> str:
        address = self.addresses[contract]
        for change in self.changes:
            if change.contract == contract and (change.block_number, change.log_index) < end:
                address = change.address
        return address


@dataclass(frozen=True, slots=True)
class Books:
    """What is claimable at the end of the last final block, if nothing is missing. Wei."""

    opening: int
    income: int = 0
    withdrawn: int = 0

    @property
    def expected(self) -> int:
        return self.opening + self.income - self.withdrawn


def observe(known: Mapping[str, Sighting], seen: Iterable[Sighting]) -> list[Sighting]:
    """What has not been said yet."""
    return [sighting for sighting in seen if sighting.item not in known]


def orphans(known: Iterable[Sighting], canonical: Mapping[int, str]) -> list[Sighting]:
    """What stood in blocks that are no longer in the chain. ``canonical``: hashes by number, of blocks that there are.

    Nothing is orphaned for being absent: only another block in its place proves it (incident 44).
    """
    return [
        sighting
        for sighting in known
        if canonical.get(sighting.event.block_number, sighting.event.block_hash) != sighting.event.block_hash
    ]


def finalise(known: Iterable[Sighting], seen: Sequence[Sighting], last: int) -> list[Sighting]:
    """``seen``, all of it: what stands in blocks up to ``last``, which are final, read anew.

    Raises ``SightingMissing`` if something that was said of these blocks isn't there.
    """
    items = {sighting.item for sighting in seen}
    for sighting in known:
        event = sighting.event
        if event.block_number <= last and sighting.item not in items:
            raise SightingMissing(block_number=event.block_number, block_hash=event.block_hash, item=sighting.item)
    return list(seen)


def book(books: Books, final: Iterable[Sighting]) -> Books:
    """The books with what has become final."""
    for sighting in final:
        match sighting.event:
            case TicketRedeemed(amount=amount):
                books = replace(books, income=books.income + amount)
            case FeesWithdrawn(amount=amount):
                books = replace(books, withdrawn=books.withdrawn + amount)
    return books


def reconcile(snapshot: ClaimableSnapshot, books: Books) -> IncomeReconciled | IncomeUnexplained:
    """Whether everything that came or went is known, to the wei. Exact as long as no fees are shared with delegators."""
    expected, found = books.expected, snapshot.pending_fees
    facts = snapshot.model_dump(include={"chain_id", "block_number", "block_hash", "block_time", "orchestrator"})
    if expected == found:
        return IncomeReconciled(**facts, expected=expected, found=found)
    side = "more" if found > expected else "less"
    sentence = (
        f"Livepeer says that {abs(found - expected)} wei {side} can be claimed than the tickets and withdrawals that were "
        "seen account for. Until that is explained, nothing is paid."
    )
    # Never negative on a topic: more was withdrawn than was ever seen to come in.
    return IncomeUnexplained(**facts, expected=max(expected, 0), found=found, sentence=sentence)


def is_worth_saying(
    snapshot: ClaimableSnapshot, books: Books, before: tuple[int, int, int] | None, final: Iterable[Sighting]
) -> bool:
    """A snapshot is published when something changed, and once a round. ``before``: fees, stake, expected of the last one."""
    if any(isinstance(sighting.event, RoundStarted) for sighting in final):
        return True
    return before != (snapshot.pending_fees, snapshot.pending_stake, books.expected)


def said(sighting: Sighting, finality: Literal["observed", "final", "orphaned"]) -> News:
    """The same payload, with how sure it is."""
    return News(sighting.topic, sighting.key, sighting.event.model_copy(update={"finality": finality}))
