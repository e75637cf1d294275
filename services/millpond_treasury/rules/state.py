"""What treasury knows, frozen: who waits to be paid, what is on its way, what it may believe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from millpond.events.chain_transfers import SlotFilled
from millpond.events.rewards_epochs import Checkpoint
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.topic import Topic
from millpond.events.topics import (
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    OPERATOR_COMMANDS,
    POOL_TERMS,
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    TREASURY_SETTLEMENTS,
)
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalSigned,
    SlotPlanned,
    SlotSigned,
)
from millpond.identity.signing import Domain
from millpond.money.asset import Asset

READS: Final[tuple[Topic, ...]] = (
    POOL_TERMS,
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    CHAIN_REVENUE,
    CHAIN_TRANSFERS,
    OPERATOR_COMMANDS,
    TREASURY_SETTLEMENTS,
)
ZERO: Final = "0x" + "00" * 20


@dataclass(frozen=True)
class Treasury:
    """What is fixed while the service runs. ``address``: the wallet that pays; ``contract``: through which it does.

    ``withdraws``: the orchestrator's key is here.
    """

    domain: Domain
    operators: frozenset[str]
    address: str
    contract: str
    orchestrator: str
    withdraws: bool
    orders_max: int
    bump_after_ms: int
    send_again_ms: int

    @property
    def ether(self) -> str:
        """The one asset that is paid in."""
        return str(Asset(self.domain.chain_id))


@dataclass(frozen=True, slots=True)
class Waiting:
    """An order that is not planned. ``said``: the reason that was last given for it."""

    order: PayoutOrdered
    said: str | None = None


@dataclass(frozen=True, slots=True)
class ClosedEpoch:
    """An epoch whose checkpoint is not checked yet. ``closed``: its event's bytes, as text."""

    closed: str
    terms_version: int
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """How far one nonce's transaction has got: ``hashes`` of all its versions, ``sends`` of the present one
    (before the first: how often it could not be signed).

    ``asked``: a question to the chain stands on the log, and its answer is still to come. ``again_ms``: not before.
    """

    asked: bool = False
    hashes: tuple[str, ...] = ()
    sends: int = 0
    signed_ms: int = 0
    again_ms: int = 0
    said: str | None = None


@dataclass(frozen=True, slots=True)
class SlotOnItsWay:
    """A planned slot that is not settled. ``filled``: in a block, final or not yet; ``unpaid``: by index, all final.

    ``reverts``: how often its transaction failed for good; ``nonce_used``: its nonce is gone, and the slot not filled.
    ``settled``: of how many orders the last word is said.
    """

    plan: SlotPlanned
    sending: Sending = Sending()
    signed: SlotSigned | None = None
    filled: SlotFilled | None = None
    unpaid: Mapping[int, int] = field(default_factory=dict)
    reverts: int = 0
    nonce_used: bool = False
    settled: int = 0

    @property
    def complete(self) -> bool:
        """Everything about it is final and known."""
        filled = self.filled
        return filled is not None and filled.finality == "final" and sum(self.unpaid.values()) == filled.unpaid_total


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The operator's command, verified."""

    withdrawal: str
    amount: int
    recipient: str
    signer: str
    command_nonce: int


@dataclass(frozen=True, slots=True)
class WithdrawalOnItsWay:
    """``failed``: in a final block, or its nonce was used up by something else."""

    asked: FeesWithdrawalAsked
    sending: Sending
    signed: FeesWithdrawalSigned | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What the chain's latest sums said."""

    block_number: int
    explained: bool


@dataclass(frozen=True)
class State:
    """``planned``: every payout that was, for ever. ``committed``: what was planned and did not come back, by recipient.

    ``roots``: of epochs whose checkpoint is the pool's. ``earned``: what contributors have earned in all of them, by
    asset. At most one of ``slot``, ``withdrawal`` and ``float_asked``: one thing at a time. ``look_ms``: when those who wait
    are looked at again; None: once something is heard. ``foreign_slot``: filled by somebody else.
    """

    next_slot: int = 0
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    planned: frozenset[str] = frozenset()
    committed: Mapping[str, int] = field(default_factory=dict)
    closed: Mapping[int, ClosedEpoch] = field(default_factory=dict)
    roots: Mapping[int, str] = field(default_factory=dict)
    earned: Mapping[str, int] = field(default_factory=dict)
    receipt_keys: Mapping[int, str] = field(default_factory=dict)
    reconciliation: Reconciliation | None = None
    command_nonces: Mapping[str, int] = field(default_factory=dict)
    account_nonce: int = 0
    withdrawals: tuple[Withdrawal, ...] = ()
    withdrawal: WithdrawalOnItsWay | None = None
    slot: SlotOnItsWay | None = None
    float_asked: bool = False
    look_ms: int | None = 0
    foreign_slot: int | None = None
    stopped: bool = False

    @property
    def unexplained(self) -> bool:
        return self.reconciliation is not None and not self.reconciliation.explained
