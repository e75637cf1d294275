"""What rewards knows, frozen: the epoch that is open, what it began with, what waits to be paid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from millpond.events.metering_usage import Watermark
from millpond.events.rewards_epochs import Checkpoint, EpochClosed, EpochClosing
from millpond.events.rewards_payouts import StatementProof
from millpond.events.topic import Topic
from millpond.events.topics import (
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    METERING_USAGE,
    OPERATOR_COMMANDS,
    POOL_TERMS,
    REGISTRY_MEMBERS,
    REWARDS_EPOCHS,
    TREASURY_SETTLEMENTS,
)
from millpond.identity.signing import Domain
from millpond.money.ledger import Ledger
from millpond.stream.record import Place
from millpond.terms.terms import Terms
from millpond_rewards.rules.close import Opening
from millpond_rewards.rules.cut import PlaceTally
from millpond_rewards.rules.statements import Share
from millpond_rewards.rules.weights import LineFold

# What an epoch's cut covers: every partition of these.
READS: Final[tuple[Topic, ...]] = (
    METERING_USAGE,
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    TREASURY_SETTLEMENTS,
    REGISTRY_MEMBERS,
    POOL_TERMS,
    OPERATOR_COMMANDS,
    REWARDS_EPOCHS,
)
TERMS_PLACE: Final = Place(POOL_TERMS.name, 0)

Phase = Literal["open", "ending", "closing"]
PayoutStage = Literal["payable", "in-flight"]


@dataclass(frozen=True)
class Pool:
    """What is fixed while the service runs. ``epoch_ms``: how long an epoch lasts; None: until the operator closes it.

    ``sign`` makes the checkpoint of a closed epoch; the same for the same.
    """

    domain: Domain
    operators: frozenset[str]
    epoch_ms: int | None
    sign: Callable[[EpochClosed], Checkpoint]


class Asked(NamedTuple):
    """The operator's order to close an epoch, which waits for the next tick."""

    signer: str
    nonce: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Offer:
    """One version of the terms, and where it stands."""

    offset: int
    version: int
    effective_from_epoch: int
    terms_hash: str
    terms: Terms


@dataclass(frozen=True, slots=True)
class Window:
    """A closed epoch whose payouts have not been released. ``ends_ms``: Unix milliseconds."""

    epoch: int
    terms_version: int
    ends_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """One contributor's money in one asset. ``unpaid``: by epoch, of statements whose payment is not final.

    ``ordered``: sum of all orders so far, but for what came back. ``proofs``: of the statements that an order can still
    name, by their epochs: the latest that was released, and all since.
    """

    unpaid: Mapping[int, int] = field(default_factory=dict)
    ordered: int = 0
    proofs: tuple[StatementProof, ...] = ()


@dataclass(frozen=True, slots=True)
class Payout:
    """An order that is not final."""

    payout: str
    share: Share
    amount: int
    epochs: tuple[int, ...]
    recipient: str
    stage: PayoutStage = "payable"


@dataclass(frozen=True, slots=True)
class Slot:
    """A batch, as far as it is known: what treasury planned, and what the chain says for good, whichever comes first.

    ``orders``: (payout, recipient, amount) in the order of the contract's events. ``unpaid``: amount by index.
    """

    planned: str | None = None
    orders: tuple[tuple[str, str, int], ...] = ()
    filled: str | None = None
    unpaid_total: int = 0
    unpaid: Mapping[int, int] = field(default_factory=dict)


class Said(NamedTuple):
    """An EpochWaits that stands on its topic, and isn't said twice."""

    epoch: int
    step: str
    reason: str


class Reconciliation(NamedTuple):
    """What chain_watcher said last about the orchestrator's income, by block."""

    block_number: int
    explained: bool


@dataclass(frozen=True, slots=True)
class State:
    """``tallies``, ``lines``, ``income``, ``tickets``: of what was read since the last cut; tickets of all time.

    ``watermarks``: (partition of the usage lines, input partition). ``issued``: statements of an epoch that is being
    folded, as they stand on their topic. ``nonces``: by signer, the highest that was answered.
    """

    opening: Opening = field(default_factory=Opening)
    phase: Phase = "open"
    asked: tuple[Asked, ...] = ()
    closing: EpochClosing | None = None
    watermarks: frozenset[tuple[int, int]] = frozenset()
    began_ms: int | None = None
    said: frozenset[Said] = frozenset()
    nonces: Mapping[str, int] = field(default_factory=dict)
    offers: tuple[Offer, ...] = ()
    leaving: frozenset[str] = frozenset()
    reconciliation: Reconciliation | None = None
    tallies: Mapping[Place, PlaceTally] = field(
        default_factory=lambda: {
            Place(topic.name, partition): PlaceTally() for topic in READS for partition in range(topic.partitions)
        }
    )
    lines: tuple[LineFold, ...] = field(
        default_factory=lambda: tuple(LineFold() for _ in range(METERING_USAGE.partitions))
    )
    income: Mapping[str, int] = field(default_factory=dict)
    tickets: frozenset[str] = frozenset()
    windows: tuple[Window, ...] = ()
    accounts: Mapping[Share, Account] = field(default_factory=dict)
    payouts: Mapping[str, Payout] = field(default_factory=dict)
    slots: Mapping[int, Slot] = field(default_factory=dict)
    conflict: str | None = None
    issued: tuple[str, ...] = ()
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def epoch(self) -> int:
        """The one that is open, or is being closed."""
        return self.opening.epoch

    @property
    def is_decided(self) -> bool:
        """Whether metering has said of each input partition, on each partition of the lines, that nothing is left."""
        if self.closing is None:
            return False
        partitions = max((len(ends) for ends in self.closing.ends.values()), default=0)
        return len(self.watermarks) == partitions * METERING_USAGE.partitions

    def offer(self) -> Offer | None:
        """The terms of the open epoch: the highest version for it that stood there before it began.

        What is published while it runs counts from the next one on. Only the pool's first epoch has none before it.
        """
        began_at = self.tallies[TERMS_PLACE].start
        due = [each for each in self.offers if each.effective_from_epoch <= self.epoch]
        before = [each for each in due if each.offset < began_at]
        if before:
            return max(before, key=lambda each: each.version)
        return min(due, key=lambda each: each.version, default=None)


def covers(closing: EpochClosing, watermark: Watermark) -> bool:
    """Whether a watermark answers this closing: of the same epoch, and with the same ends."""
    ends = {topic: each[watermark.partition] for topic, each in closing.ends.items() if watermark.partition < len(each)}
    return watermark.epoch == closing.epoch and watermark.ends == ends
