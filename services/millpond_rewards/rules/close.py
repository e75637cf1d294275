"""An epoch is closed: its cut, its money and its work become statements. Pure, and all that an audit needs to do the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from millpond.events.rewards_epochs import NO_ROOT, EpochClosed, PartitionCut, Pot, TreeHead
from millpond.events.rewards_statements import StatementIssued
from millpond.proofs.merkle import leaf_hash, tree_root
from millpond.proofs.statement import epoch_root
from millpond.terms.terms import Terms
from millpond_rewards.rules import proportional_1
from millpond_rewards.rules.pots import Carried, Sharing, sharing
from millpond_rewards.rules.proportional_1 import Split
from millpond_rewards.rules.statements import EpochWork, Share, SharedPot, is_work_carried, issue, payable, work_carried
from millpond_rewards.rules.weights import LineFold, Work, WorkKey, added, scale_of, weight

SplitPolicy = Callable[[int, Mapping[WorkKey, int], int], Split]
# Under what name terms ask for it. A change of a rule is another name: the old ones pay old epochs the same, for ever.
SPLITS: Final[Mapping[str, SplitPolicy]] = {"proportional/1": proportional_1.split}


@dataclass(frozen=True, slots=True)
class Opening:
    """What one epoch hands to the next. ``cumulative``: of all statements so far. ``work``: what had no income yet."""

    epoch: int = 0
    previous_root: str = NO_ROOT
    carried: Mapping[str, Carried] = field(default_factory=dict)
    work: Work = field(default_factory=dict)
    cumulative: Mapping[Share, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inputs:
    """What was read of an epoch up to its cut. ``lines`` by partition; ``income`` by asset: what became final."""

    cut: tuple[PartitionCut, ...]
    lines: Sequence[LineFold]
    income: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class TermsInForce:
    """``asset``: what income comes in; its pot is there even when it is empty."""

    version: int
    terms_hash: str
    terms: Terms
    asset: str


@dataclass(frozen=True, slots=True)
class Closed:
    """``statements`` in the order of their leaves."""

    epoch: EpochClosed
    statements: tuple[StatementIssued, ...]


def close_epoch(opening: Opening, inputs: Inputs, force: TermsInForce, as_of: datetime) -> Closed:
    """The same inputs give the same bytes. Money in equals money out, in each asset, to the unit."""
    work = _work_of(opening, inputs)
    assets = sorted({force.asset, *inputs.income, *opening.carried})
    shared = [_share(asset, opening, inputs, force, work) for asset in assets]
    statements = issue(opening.epoch, opening.cumulative, work, shared)
    lines = tuple(TreeHead(size=fold.tree.size, root=_hex(fold.tree.root())) for fold in inputs.lines)
    statements_root = tree_root(leaf_hash(statement.to_bytes()) for statement in statements)
    closed = EpochClosed(
        epoch=opening.epoch,
        terms_hash=force.terms_hash,
        terms_version=force.version,
        rules=force.terms.split.policy,
        cut=inputs.cut,
        pots=tuple(each.pot for each in shared),
        lines=lines,
        statements=TreeHead(size=len(statements), root=_hex(statements_root)),
        work_carried=is_work_carried(shared),
        root=_hex(
            epoch_root(
                bytes.fromhex(opening.previous_root[2:]), [fold.tree.root() for fold in inputs.lines], statements_root
            )
        ),
        previous_root=opening.previous_root,
        as_of=as_of,
        payable_from=as_of + timedelta(seconds=force.terms.payout.challenge_window_s),
    )
    return Closed(closed, statements)


def after_closing(opening: Opening, closed: EpochClosed, statements: Iterable[StatementIssued]) -> Opening:
    """What the next epoch begins with, from nothing but what was published: so a rebuilt service begins with the same."""
    issued = list(statements)
    return Opening(
        epoch=closed.epoch + 1,
        previous_root=closed.root,
        carried={
            pot.asset: Carried(pot.remainder, pot.unearned, pot.set_aside, pot.contributors_total)
            for pot in closed.pots
        },
        work=work_carried(issued, closed) if closed.work_carried else {},
        cumulative={
            **opening.cumulative,
            **{Share(each.contributor, each.asset): each.cumulative for each in issued},
        },
    )


def _work_of(opening: Opening, inputs: Inputs) -> EpochWork:
    total = added([opening.work, *(fold.work for fold in inputs.lines)])
    scale = scale_of(total)
    weights = (weight(key, count.units, scale) for key, count in total.items())
    return EpochWork(total, opening.work, scale, sum(weights))


def _share(asset: str, opening: Opening, inputs: Inputs, force: TermsInForce, work: EpochWork) -> SharedPot:
    terms, revenue = force.terms.split, inputs.income.get(asset, 0)
    carried = opening.carried.get(asset, Carried())
    sharing_ = sharing(
        revenue=revenue,
        carried=carried,
        operator_share_ppm=terms.operator_share_ppm,
        weight_total=work.weight_total,
    )
    split = Split()
    after = _unshared(sharing_, carried)
    if sharing_.outcome == "shared":
        units = {payable(key): 0 for key in work.total}
        for key, count in work.total.items():
            units[payable(key)] += count.units
        split = SPLITS[terms.policy](sharing_.amount, units, work.scale)
        after = Carried(split.remainder, 0, carried.set_aside + sum(split.set_aside.values()))
    contributors = sum(split.amounts.values())
    pot = Pot(
        asset=asset,
        revenue=revenue,
        carried_in=carried.total,
        operator=sharing_.operator,
        contributors=contributors,
        carried_out=after.total,
        remainder=after.remainder,
        unearned=after.unearned,
        set_aside=after.set_aside,
        distributed=sharing_.amount if sharing_.outcome == "shared" else 0,
        weight_total=work.weight_total,
        weight_scale=work.scale,
        contributors_total=carried.contributors_total + contributors,
    )
    assert pot.revenue + pot.carried_in == pot.operator + pot.contributors + pot.carried_out, pot
    return SharedPot(pot, sharing_, split)


def _unshared(sharing_: Sharing, carried: Carried) -> Carried:
    if sharing_.outcome == "no-income":
        return Carried(carried.remainder, 0, carried.set_aside)
    return Carried(0, sharing_.amount, carried.set_aside)


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()
