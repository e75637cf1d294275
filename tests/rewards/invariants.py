"""What holds after every step, told by whoever looks from outside."""

from __future__ import annotations

from collections.abc import Iterable

from millpond.events.rewards_epochs import EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.money import CARRIED, CLAIMABLE, INCOME, OPERATOR, PAID_OUT, SET_ASIDE, TREASURY
from millpond.stream.decision import Outgoing
from millpond_rewards.rules import State


def check(state: State, events: Iterable[Outgoing] = ()) -> None:
    """Raises AssertionError: money was made or lost, or an order is not proven."""
    _check_ledger(state)
    issued: list[StatementIssued] = []
    for out in events:
        match out.event:
            case StatementIssued() as statement:
                issued.append(statement)
            case EpochClosed() as closed:
                _check_closed(closed, issued)
            case PayoutOrdered() as order:
                _check_order(order)


def _check_ledger(state: State) -> None:
    """Every asset sums to zero; what the pool has or has paid is what is the operator's, the contributors', or carried."""
    ledger = state.ledger
    for asset in ledger.assets():
        assert ledger.sum(asset) == 0
        had = sum(ledger.balance(asset, account) for account in (CLAIMABLE, TREASURY, PAID_OUT))
        contributors = -sum(
            amount for (of, account), amount in ledger.balances.items() if of == asset and account.startswith("contr")
        )
        others = -sum(ledger.balance(asset, account) for account in (INCOME, OPERATOR, CARRIED, SET_ASIDE))
        assert had == contributors + others
        assert all(
            amount <= 0
            for (of, account), amount in ledger.balances.items()
            if of == asset and account not in (CLAIMABLE, TREASURY, PAID_OUT)
        )
        carried = state.opening.carried.get(asset)
        if carried is not None:
            assert -ledger.balance(asset, CARRIED) == carried.remainder + carried.unearned
            assert -ledger.balance(asset, SET_ASIDE) == carried.set_aside
        assert -ledger.balance(asset, INCOME) == state.income.get(asset, 0)
    for share, account in state.accounts.items():
        assert 0 <= account.ordered <= state.opening.cumulative[share]


def _check_closed(closed: EpochClosed, issued: list[StatementIssued]) -> None:
    for pot in closed.pots:
        statements = [each for each in issued if each.asset == pot.asset]
        assert sum(each.amount for each in statements) == pot.contributors
        assert pot.revenue + pot.carried_in == pot.operator + pot.contributors + pot.carried_out
        assert pot.carried_out == pot.remainder + pot.unearned + pot.set_aside
        for each in statements:
            expected = pot.distributed * each.weight // pot.weight_total if pot.weight_total else 0
            assert each.amount == expected


def _check_order(order: PayoutOrdered) -> None:
    statement = StatementIssued.model_validate_json(order.proof.statement)
    assert (statement.contributor, statement.asset) == (order.contributor, order.asset)
    assert order.recipient == order.contributor
    assert order.ordered_before + order.amount <= statement.cumulative
