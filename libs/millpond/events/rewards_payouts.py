"""``rewards.payouts.v1``: what is to be paid, once its challenge window is over. Key: the contributor."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Address, Amount, Hash32, Instant
from millpond.events.ids import Reason, Sentence, Uuid
from millpond.events.rewards_epochs import AssetId, Count, Epoch

STATEMENT_CHARACTERS_MAX = 65_536
# Nothing has more leaves than 2**64.
PATH_MAX = 64
EPOCHS_MAX = 20_000


class InclusionProof(BaseModel):
    """That a leaf is in an RFC 6962 tree: its ``index`` of ``size``, and the hashes beside its way up (§2.1.1)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    index: Count
    size: Count
    path: Annotated[tuple[Hash32, ...], Field(max_length=PATH_MAX)]


class StatementProof(BaseModel):
    """That the statement whose value is ``statement``, letter by letter, is under the root of epoch ``epoch``.

    ``leaf``: in the tree of the epoch's statements; ``tree``: that tree's root in the epoch's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    epoch: Epoch
    statement: Annotated[str, StringConstraints(strict=True, max_length=STATEMENT_CHARACTERS_MAX)]
    leaf: InclusionProof
    tree: InclusionProof


class PayoutOrdered(Event):
    """Pay ``amount`` to ``recipient``, once. One per (epoch, contributor, asset): ``payout`` is uuid5 of these.

    ``epochs``: whose statements it pays. ``proof``: of the contributor's latest of them; its ``cumulative`` is at least
    ``ordered_before`` (all orders so far, but for what came back unpaid) and ``amount`` together.
    """

    payout: Uuid
    epoch: Epoch
    contributor: Address
    recipient: Address
    asset: AssetId
    amount: Annotated[Amount, Field(ge=1)]
    epochs: Annotated[tuple[Epoch, ...], Field(min_length=1, max_length=EPOCHS_MAX)]
    ordered_before: Amount
    proof: StatementProof
    as_of: Instant


class PayoutWithdrawn(Event):
    """Asks treasury not to pay what it has not planned yet, and why; it answers on its own topic."""

    payout: Uuid
    contributor: Address
    reason: Reason
    sentence: Sentence
    as_of: Instant
