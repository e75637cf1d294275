"""Double entry: what one account gets, others give; per asset, and in whatever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.money import (
    CARRIED,
    CLAIMABLE,
    INCOME,
    OPERATOR,
    TREASURY,
    Account,
    Ledger,
    Move,
    Posting,
    Unbalanced,
    transfer,
)

ETH, LPT = "eip155:1/slip44:60", "eip155:1/erc20:0xaf88d065e77c8cC2239327C5EDb3A432268e5831"
ACCOUNTS = st.sampled_from([CLAIMABLE, TREASURY, INCOME, OPERATOR, CARRIED])


@st.composite
def postings(draw: st.DrawFn) -> Posting:
    moves = draw(st.lists(st.tuples(ACCOUNTS, st.integers(-(2**200), 2**200)), max_size=5))
    rest = -sum(amount for _, amount in moves)
    return Posting(
        "some event", draw(st.sampled_from([ETH, LPT])), (*(Move(*move) for move in moves), Move(CARRIED, rest))
    )


@given(st.lists(postings(), max_size=12), st.randoms())
def test_every_asset_sums_to_zero_in_whatever_order_it_was_posted(entries: list[Posting], random: object) -> None:
    ledger = Ledger().post(entries)
    assert all(ledger.sum(asset) == 0 for asset in ledger.assets())
    random.shuffle(entries)  # type: ignore[attr-defined]
    assert Ledger().post(entries) == ledger


def test_an_entry_with_one_side_is_refused_and_names_its_event() -> None:
    with pytest.raises(Unbalanced, match=r"ticket 7 in eip155.* come to 1 and not to 0"):
        Posting("ticket 7", ETH, (Move(CLAIMABLE, 8), Move(INCOME, -7)))


def test_a_transfer_moves_money_in_its_own_asset_only() -> None:
    ledger = Ledger().post([transfer(event="withdrawal 1", asset=ETH, debit=TREASURY, credit=CLAIMABLE, amount=5)])
    assert ledger.balance(ETH, TREASURY) == 5
    assert ledger.balance(ETH, CLAIMABLE) == -5
    assert ledger.balance(LPT, TREASURY) == 0
    assert ledger.balance(ETH, Account("nobody")) == 0
