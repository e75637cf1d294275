"""The demo says that the money adds up only if it does, to the wei."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from millpond.events.rewards_epochs import NO_ROOT, EpochClosed, Pot, TreeHead
from millpond.events.rewards_statements import StatementIssued
from millpond.events.treasury_settlements import PayoutSettled
from millpond_demo.ledger import DoesNotAddUp, Ledger, Money, balance

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ETH = "eip155:31337/slip44:60"
ADA, BOB = "0x" + "a1" * 20, "0x" + "b0" * 20
ROOT, TRANSACTION = "0x" + "07" * 32, "0x" + "08" * 32
FLOAT = 5_000


def pot(**changes: int) -> Pot:
    figures = {
        "revenue": 1_000,
        "carried_in": 0,
        "operator": 100,
        "contributors": 899,
        "carried_out": 1,
        "remainder": 1,
        "unearned": 0,
        "set_aside": 0,
        "distributed": 900,
        "weight_total": 3,
        "weight_scale": 1,
        "contributors_total": 899,
    }
    return Pot(asset=ETH, **{**figures, **changes})


def closed(**changes: int) -> EpochClosed:
    return EpochClosed(
        epoch=0,
        terms_hash="0x" + "7e" * 32,
        terms_version=1,
        rules="proportional/1",
        cut=(),
        pots=(pot(**changes),),
        lines=(),
        statements=TreeHead(size=2, root=ROOT),
        work_carried=False,
        root=ROOT,
        previous_root=NO_ROOT,
        as_of=NOW,
        payable_from=NOW,
    )


def statement(contributor: str, amount: int, index: int) -> StatementIssued:
    return StatementIssued(
        epoch=0,
        contributor=contributor,
        asset=ETH,
        amount=amount,
        cumulative=amount,
        weight=1,
        work=(),
        index=index,
    )


def settled(recipient: str, amount: int, outcome: Any = "paid") -> PayoutSettled:
    return PayoutSettled(
        payout="00000000-0000-5000-8000-000000000001",
        recipient=recipient,
        asset=ETH,
        amount=amount,
        outcome=outcome,
        slot=0,
        transaction=TRANSACTION,
        as_of=NOW,
    )


def ledger() -> Ledger:
    return Ledger(
        tickets={"0x01": 400, "0x02": 600},
        withdrawn={"0x03": 1_000},
        gas={TRANSACTION: 7},
        closed=closed(),
        statements={ADA: statement(ADA, 599, 0), BOB: statement(BOB, 300, 1)},
        settled=[settled(ADA, 599), settled(BOB, 300)],
    )


def balanced(of: Ledger, wallet_wei: int = FLOAT + 1_000 - 899 - 7) -> Money:
    return balance(of, (ADA, BOB), float_wei=FLOAT, wallet_wei=wallet_wei)


def test_what_came_in_is_what_was_shared_and_paid() -> None:
    assert ledger().is_paid
    assert balanced(ledger()) == Money(1_000, 899, 100, 1, 7, ROOT)


def test_who_did_nothing_is_paid_nothing() -> None:
    assert balance(ledger(), (ADA, BOB, "0x" + "cc" * 20), float_wei=FLOAT, wallet_wei=FLOAT + 94) is not None


@pytest.mark.parametrize(
    ("spoilt", "wallet", "problem"),
    [
        (lambda it: replace(it, tickets={"0x01": 400}), FLOAT + 94, "the tickets moved 400 wei"),
        (lambda it: replace(it, settled=it.settled[:1]), FLOAT + 394, "the settlements say: nothing"),
        (lambda it: replace(it, settled=[*it.settled, settled(BOB, 300)]), FLOAT - 206, "paid 300, paid 300"),
        (lambda it: replace(it, settled=[it.settled[0], settled(BOB, 300, "returned")]), FLOAT + 394, "returned 300"),
        (lambda it: replace(it, closed=closed(operator=101)), FLOAT + 94, "operator 101"),
        (lambda it: it, FLOAT + 93, "treasury's wallet has"),
    ],
)
def test_a_wei_too_much_or_too_little_is_told(spoilt: Any, wallet: int, problem: str) -> None:
    with pytest.raises(DoesNotAddUp, match=problem):
        balanced(spoilt(ledger()), wallet)
