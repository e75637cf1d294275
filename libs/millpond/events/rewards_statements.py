"""``rewards.statements.v1``: what each contributor earned in an epoch, and from what. Key: the contributor."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from millpond.events.event import Event
from millpond.events.fields import Address, Amount, SignedAmount
from millpond.events.ids import Reason, Sentence, Uuid
from millpond.events.rewards_epochs import AssetId, Count, Epoch
from millpond.events.scheduler_assignments import AgreedPrice


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class WorkDone(_Part):
    """Believed lines of one price: how many, and their units in all. ``units_carried`` of them are of earlier epochs."""

    price: AgreedPrice
    lines: Count
    units: Amount
    units_carried: Amount = 0


class WorkHeld(_Part):
    """Held lines of one price and reason. ``set_aside``: their share, which nobody has until they are decided."""

    price: AgreedPrice
    reason: Reason
    lines: Count
    units: Amount
    units_carried: Amount = 0
    set_aside: Amount = 0


class Adjustment(_Part):
    """A correction of what an earlier event said; ``names`` is that event's own id, such as a payout's."""

    amount: SignedAmount
    reason: Reason
    sentence: Sentence
    names: Uuid


class Remark(_Part):
    """Why the amount is what it is, for programs and for people."""

    reason: Reason
    sentence: Sentence


class StatementIssued(Event):
    """One per epoch, contributor and asset, for ever: ``amount == distributed * weight // weight_total`` of its pot.

    ``cumulative``: of all statements so far, adjustments included; what is paid never exceeds it.
    ``index``: its leaf in the tree of the epoch's statements.
    """

    epoch: Epoch
    contributor: Address
    asset: AssetId
    amount: Amount
    cumulative: Amount
    weight: Amount
    work: tuple[WorkDone, ...]
    held: tuple[WorkHeld, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    remarks: tuple[Remark, ...] = ()
    index: Annotated[int, Field(strict=True, ge=0)]
