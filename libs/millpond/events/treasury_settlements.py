"""``treasury.settlements.v1``: what treasury plans, signs and sends. Key: the slot, or the payout or withdrawal.

Nothing is sent that is not on this topic: treasury broadcasts what it reads here as signed, and the same bytes again.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Address, Amount, Hash32, Instant
from millpond.events.ids import Reason, Sentence, Uuid
from millpond.events.rewards_epochs import AssetId, Epoch

SLOT_ORDERS_MAX = 1_000
# A batch of 1,000 orders is some 70 kB of call data.
RAW_CHARACTERS_MAX = 400_000

Slot = Annotated[int, Field(strict=True, ge=0)]
# Of the transactions that were signed for one nonce: only the fees differ.
Version = Annotated[int, Field(strict=True, ge=1, le=1_000)]
ChainNonce = Annotated[int, Field(strict=True, ge=0)]
RawTransaction = Annotated[
    str, StringConstraints(strict=True, pattern=r"^0x([0-9a-f]{2})+$", max_length=RAW_CHARACTERS_MAX)
]
# What the node said to a transaction. Only a receipt in a final block says what became of it.
Answer = Literal["accepted", "known", "refused", "unknown"]


class SlotOrder(BaseModel):
    """One line of a batch; its place in ``orders`` is its index in the contract's events."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    payout: Uuid
    recipient: Address
    amount: Annotated[Amount, Field(ge=1)]


class FloatAsked(Event):
    """What is in the wallet? treasury reads this back, asks the chain, and plans the slot from the answer."""

    slot: Slot
    as_of: Instant


class SlotPlanned(Event):
    """These orders, in this order, fill this slot of the payout contract, and never another.

    ``digest``: as the contract computes it over them; ``total`` is their sum; ``epoch``: the latest that they pay, and
    ``epoch_root`` its root, which goes along in the transaction.
    """

    slot: Slot
    contract: Address
    epoch: Epoch
    epoch_root: Hash32
    asset: AssetId
    orders: Annotated[tuple[SlotOrder, ...], Field(min_length=1, max_length=SLOT_ORDERS_MAX)]
    total: Amount
    digest: Hash32
    as_of: Instant


class _Signed(Event):
    """A signed transaction, before anybody has seen it. Fees are wei per gas."""

    version: Version
    sender: Address
    nonce: ChainNonce
    transaction: Hash32
    raw: RawTransaction
    gas_limit: Annotated[int, Field(strict=True, ge=21_000)]
    fee_per_gas_max: Amount
    priority_fee_per_gas: Amount
    as_of: Instant


class _SigningAsked(Event):
    """treasury reads this back, asks the chain what it needs to know, and signs; what it can't sign is asked again.

    ``nonce``: of the versions before, which this one replaces; None: the account's next, which is ``nonce_min`` at least.
    Fees must be above those of the version before (wei per gas), which are 0 for a first one.
    """

    version: Version
    nonce: ChainNonce | None
    nonce_min: ChainNonce
    fee_per_gas_above: Amount
    priority_fee_above: Amount
    as_of: Instant


class SlotSigningAsked(_SigningAsked):
    """``reverts``: how often the slot's transaction was mined and failed; each time it gets more gas."""

    slot: Slot
    contract: Address
    epoch_root: Hash32
    asset: AssetId
    orders: Annotated[tuple[SlotOrder, ...], Field(min_length=1, max_length=SLOT_ORDERS_MAX)]
    digest: Hash32
    reverts: Annotated[int, Field(strict=True, ge=0)]


class SlotSigned(_Signed):
    """The transaction that fills the slot. Said again, it is sent again: the same bytes.

    Another version has the same slot and digest, and higher fees under the same nonce; another nonce only once a final
    block has used up the one before for something that did not fill the slot.
    """

    slot: Slot
    digest: Hash32


class SlotBroadcast(Event):
    """The bytes were handed to a node, and what it answered; ``detail`` is its own text, for people."""

    slot: Slot
    version: Version
    transaction: Hash32
    answer: Answer
    detail: Sentence = ""
    as_of: Instant


class PayoutHeld(Event):
    """An order that is not paid now, and why. Without a further word it is looked at again by itself."""

    payout: Uuid
    reason: Reason
    sentence: Sentence
    as_of: Instant


class PayoutSettled(Event):
    """The last word about an order, said once: ``paid`` in ``transaction``, which is final; or it was not paid.

    ``returned``: the recipient could not take it, so it stayed with the pool and is owed as before. ``withdrawn``: rewards
    took the order back before it was planned.
    """

    payout: Uuid
    recipient: Address
    asset: AssetId
    amount: Annotated[Amount, Field(ge=1)]
    outcome: Literal["paid", "returned", "withdrawn"]
    slot: Slot | None = None
    transaction: Hash32 | None = None
    reason: Reason | None = None
    sentence: Sentence = ""
    as_of: Instant


class PaymentsStopped(Event):
    """The chain says what can't be: nothing more is planned, signed or sent until a person has found out why."""

    slot: Slot
    reason: Reason
    sentence: Sentence
    as_of: Instant


class FeesWithdrawalAsked(_SigningAsked):
    """On the operator's command (``signer``, ``command_nonce``). ``withdrawal`` is uuid5 of the command."""

    withdrawal: Uuid
    orchestrator: Address
    recipient: Address
    amount: Annotated[Amount, Field(ge=1)]
    signer: Address
    command_nonce: Annotated[int, Field(strict=True, ge=0)]


class FeesWithdrawalSigned(_Signed):
    """On the operator's command (``signer``, ``command_nonce``): claimable fees come from the chain into the treasury.

    ``withdrawal`` is uuid5 of the command.
    """

    withdrawal: Uuid
    orchestrator: Address
    recipient: Address
    amount: Annotated[Amount, Field(ge=1)]
    signer: Address
    command_nonce: Annotated[int, Field(strict=True, ge=0)]


class FeesWithdrawalBroadcast(Event):
    """As SlotBroadcast."""

    withdrawal: Uuid
    version: Version
    transaction: Hash32
    answer: Answer
    detail: Sentence = ""
    as_of: Instant


class FeesWithdrawalRefused(Event):
    """The operator's command withdraws nothing, and why."""

    withdrawal: Uuid
    signer: Address
    command_nonce: Annotated[int, Field(strict=True, ge=0)]
    reason: Reason
    sentence: Sentence
    as_of: Instant
