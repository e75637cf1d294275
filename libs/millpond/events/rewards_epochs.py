"""``rewards.epochs.v1``: the pool's accounting periods. Key: the pool.

An epoch goes EpochEnding → EpochClosing → EpochClosed and Checkpoint → PayoutsReleased; where it waits, EpochWaits says why.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millpond.events.agent_enrolments import DeviceSignature
from millpond.events.event import Event
from millpond.events.fields import Address, Amount, Hash32, Instant
from millpond.events.ids import Reason, Sentence

Offset = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, ge=0)]
Epoch = Annotated[int, Field(strict=True, ge=0)]

# A chain and a contract on it, never a symbol: CAIP-19, such as eip155:42161/slip44:60 (ETH) or eip155:42161/erc20:0x….
AssetId = Annotated[
    str, StringConstraints(strict=True, pattern=r"^eip155:[1-9][0-9]{0,19}/(slip44:60|erc20:0x[0-9a-fA-F]{40})$")
]
# The root before that of epoch 0.
NO_ROOT: Final = "0x" + "00" * 32


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class EpochEnding(Event):
    """The epoch is to be closed: by schedule, or by the operator's command (``signer``, ``nonce``).

    rewards reads it back, looks where the logs end that metering decides from, and says so in EpochClosing.
    """

    epoch: Epoch
    as_of: Instant
    signer: Address | None = None
    nonce: Annotated[int, Field(strict=True, ge=0)] | None = None


class CloseRefused(Event):
    """The operator's command (``signer``, ``nonce``) closes nothing, and why."""

    signer: Address
    nonce: Annotated[int, Field(strict=True, ge=0)]
    reason: Reason
    sentence: Sentence


class EpochClosing(Event):
    """The epoch's end is near: metering answers for everything below ``ends`` with a watermark per partition.

    ``ends``: by topic, the next offset of each partition in order, at the tick ``as_of``.
    """

    epoch: Epoch
    ends: dict[str, tuple[Offset, ...]]
    as_of: Instant


class EpochWaits(Event):
    """Closing, or ordering the payouts, can't go on yet, and why. Said once per reason; it is tried again by itself."""

    epoch: Epoch
    step: Literal["close", "payouts"]
    reason: Reason
    sentence: Sentence
    as_of: Instant


class PartitionCut(_Part):
    """What rewards had decided from of one partition since the last cut: offsets ``start`` (included) to ``next_offset``.

    ``records``: how many counted (no repeats, no fillers, nothing that was skipped or set aside, no command about that).
    ``records_hash``: from 32 zero bytes, for each of them in order, SHA-256 of: the hash so far, the offset (8 bytes), the
    value's RFC 6962 leaf hash, the key's length (8 bytes), the key, the outbox header. ``numbers``: per source, the last
    outbox number.
    """

    topic: str
    partition: Annotated[int, Field(strict=True, ge=0)]
    start: Offset
    next_offset: Offset
    records: Count
    records_hash: Hash32
    numbers: dict[str, Annotated[int, Field(strict=True, ge=1)]]


class Pot(_Part):
    """One asset's money in one epoch, in its smallest unit.

    ``revenue + carried_in == operator + contributors + carried_out``, exactly. ``carried_out`` is what nobody has yet:
    ``remainder`` (of rounding), ``unearned`` (there was no work) and ``set_aside`` (shares of held lines, of all epochs).
    ``distributed`` was shared by weight: an amount is ``distributed * weight // weight_total``, where a line weighs
    ``quantity * wei * weight_scale // per_units`` of its price. ``contributors_total``: of all epochs so far.
    """

    asset: AssetId
    revenue: Amount
    carried_in: Amount
    operator: Amount
    contributors: Amount
    carried_out: Amount
    remainder: Amount
    unearned: Amount
    set_aside: Amount
    distributed: Amount
    weight_total: Amount
    weight_scale: Amount
    contributors_total: Amount


class TreeHead(_Part):
    """An RFC 6962 tree: how many leaves, and its root."""

    size: Count
    root: Hash32


class EpochClosed(Event):
    """The epoch is a cut, and what came of it. ``rules`` names the version of the split; ``terms_hash`` the terms.

    ``root``: an RFC 6962 tree over ``previous_root``, the roots of ``lines`` (per partition of metering.usage, over its
    lines' bytes), and that of ``statements`` (over their bytes, by ``index``). ``work_carried``: there was no income, so
    the work counts in the next epoch. ``payable_from``: the end of the challenge window.
    """

    epoch: Epoch
    terms_hash: Hash32
    terms_version: Annotated[int, Field(strict=True, ge=1)]
    rules: str
    cut: tuple[PartitionCut, ...]
    pots: tuple[Pot, ...]
    lines: tuple[TreeHead, ...]
    statements: TreeHead
    work_carried: bool
    root: Hash32
    previous_root: Hash32
    as_of: Instant
    payable_from: Instant


class Checkpoint(Event):
    """The pool's signature (Ed25519, the terms' ``receipt_key``) over an epoch: ``millpond.proofs.checkpoint`` verifies it.

    ``closed`` is the SHA-256 of the EpochClosed event's bytes, so pots and cut are signed too.
    """

    epoch: Epoch
    root: Hash32
    previous_root: Hash32
    closed: Hash32
    signature: DeviceSignature


class PayoutsReleased(Event):
    """The challenge window is over: what is to be paid has been ordered (``orders`` of them), the rest is below the minimum."""

    epoch: Epoch
    orders: Count
    as_of: Instant
