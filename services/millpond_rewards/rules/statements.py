"""What a contributor is told: what he did, what it weighed, what it earned, what is held, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from eth_utils.address import is_checksum_address

from millpond.events.rewards_epochs import EpochClosed, Pot
from millpond.events.rewards_statements import Remark, StatementIssued, WorkDone, WorkHeld
from millpond.events.scheduler_assignments import AgreedPrice
from millpond_rewards.rules.pots import Sharing
from millpond_rewards.rules.proportional_1 import Split
from millpond_rewards.rules.weights import BELIEVED, Count, Work, WorkKey, weight

_NOBODY: Final = "0x0000000000000000000000000000000000000000"
# Why the share of believed work is set aside: there is nobody to pay it to.
NO_PAYEE: Final = "no-payee"
# More contributors than any pool has.
PAYEES_REMEMBERED_MAX: Final = 65_536


class Share(NamedTuple):
    """Whose, and of what."""

    contributor: str
    asset: str


class SharedPot(NamedTuple):
    """One asset's pot, and how it was split."""

    pot: Pot
    sharing: Sharing
    split: Split


class EpochWork(NamedTuple):
    """``total``: of this epoch and carried in together."""

    total: Work
    carried_in: Work
    scale: int
    weight_total: int


@lru_cache(maxsize=PAYEES_REMEMBERED_MAX)
def is_payee(contributor: str) -> bool:
    """Whether money can be meant for it: an address with its checksum that is somebody's."""
    # Remembered: a checksum in Python takes longer than all the rest of a statement.
    return contributor != _NOBODY and is_checksum_address(contributor)


def payable(key: WorkKey) -> WorkKey:
    """Who can't be paid has no part of his own: it is set aside, as if the line were held."""
    return key if is_payee(key.contributor) or key.reason != BELIEVED else key._replace(reason=NO_PAYEE)


def is_work_carried(shared: Sequence[SharedPot]) -> bool:
    """No asset had income: what was done counts in the next epoch."""
    return all(each.sharing.outcome == "no-income" for each in shared)


def work_carried(statements: Sequence[StatementIssued], closed: EpochClosed) -> dict[WorkKey, Count]:
    """What an epoch without income hands on; all assets' statements say the same about work, so one asset's are enough."""
    asset = closed.pots[0].asset
    work: dict[WorkKey, Count] = {}
    for statement in statements:
        if statement.asset != asset:
            continue
        for done in statement.work:
            key = WorkKey(statement.contributor, done.price.wei, done.price.per_units, BELIEVED)
            work[key] = Count(done.lines, done.units)
        for held in statement.held:
            key = WorkKey(statement.contributor, held.price.wei, held.price.per_units, held.reason)
            work[key] = Count(held.lines, held.units)
    return work


def issue(
    epoch: int, cumulative: Mapping[Share, int], work: EpochWork, shared: Sequence[SharedPot]
) -> tuple[StatementIssued, ...]:
    """One for each asset and contributor with work in the epoch, in the order of their leaves."""
    by_contributor: dict[str, list[WorkKey]] = {}
    for key in sorted(work.total):
        if is_payee(key.contributor):
            by_contributor.setdefault(key.contributor, []).append(key)
    shares = [(contributor, each) for contributor in sorted(by_contributor) for each in shared]
    carried = is_work_carried(shared)
    return tuple(
        _statement(index, epoch, cumulative, work, by_contributor[contributor], each, carried)
        for index, (contributor, each) in enumerate(shares)
    )


def _statement(
    index: int,
    epoch: int,
    cumulative: Mapping[Share, int],
    work: EpochWork,
    keys: Sequence[WorkKey],
    shared: SharedPot,
    carried: bool,
) -> StatementIssued:
    contributor, asset = keys[0].contributor, shared.pot.asset
    amount = shared.split.amounts.get(contributor, 0)
    believed = [key for key in keys if key.reason == BELIEVED]
    held = [key for key in keys if key.reason != BELIEVED]
    return StatementIssued(
        epoch=epoch,
        contributor=contributor,
        asset=asset,
        amount=amount,
        cumulative=cumulative.get(Share(contributor, asset), 0) + amount,
        weight=sum(weight(key, work.total[key].units, work.scale) for key in believed),
        work=tuple(_done(key, work) for key in believed),
        held=tuple(_held(key, work, shared.split) for key in held),
        remarks=_remarks(shared, carried, has_work=bool(believed), has_held=bool(held), amount=amount),
        index=index,
    )


def _done(key: WorkKey, work: EpochWork) -> WorkDone:
    count = work.total[key]
    return WorkDone(price=_price(key), lines=count.lines, units=count.units, units_carried=_carried_units(key, work))


def _held(key: WorkKey, work: EpochWork, split: Split) -> WorkHeld:
    count = work.total[key]
    return WorkHeld(
        price=_price(key),
        reason=key.reason,
        lines=count.lines,
        units=count.units,
        units_carried=_carried_units(key, work),
        set_aside=split.set_aside.get(key, 0),
    )


def _carried_units(key: WorkKey, work: EpochWork) -> int:
    return work.carried_in.get(key, Count(0, 0)).units


def _price(key: WorkKey) -> AgreedPrice:
    return AgreedPrice(unit="pixel", wei=key.wei, per_units=key.per_units)


def _remarks(shared: SharedPot, carried: bool, *, has_work: bool, has_held: bool, amount: int) -> tuple[Remark, ...]:
    remarks = []
    if carried:
        remarks.append(("no-income", "No income became final in this epoch: the work counts in the next one."))
    elif shared.sharing.outcome == "no-income":
        remarks.append(("no-income", "No income of this asset became final in this epoch."))
    elif has_work and not amount:
        remarks.append(("below-one-unit", "The share of this work is less than the asset's smallest unit."))
    if has_held:
        remarks.append(("held", "Part of the work is held; its share is set aside until that is decided."))
    return tuple(Remark(reason=reason, sentence=sentence) for reason, sentence in remarks)
