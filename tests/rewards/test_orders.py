"""From statements to orders, and what becomes of them: paid, or owed as before."""

from __future__ import annotations

import pytest

from millpond.events.registry_members import ContributorAdmitted, ContributorDraining
from millpond.events.rewards_epochs import EpochClosed, EpochWaits, PayoutsReleased
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.money import CLAIMABLE, PAID_OUT, TREASURY, contributor_account
from millpond.proofs.statement import StatementNotProven, check_statement
from rewards.story import (
    ANN,
    BEN,
    CAT,
    ETH,
    Story,
    commission,
    filled,
    line,
    planned,
    reconciled,
    terms,
    ticket,
    unexplained,
    withdrawn,
)


def paid_epoch(story: Story, income: int, *lines: tuple[str, int]) -> EpochClosed:
    """An epoch with this income and these lines, closed; its window has not ended."""
    for who, units in lines:
        story.tell(line(who, units, number=len(story.said) * 100 + story.now_ms % 97 + units))
    story.tell(ticket(income, number=len(story.said) + 1))
    return story.close()


def opened(minimum: int = 0) -> Story:
    payout = {"minimum": {"ETH": str(minimum)}}
    return Story().tell(terms(split=commission(0), payout=payout))


def orders(story: Story) -> list[tuple[str, int, tuple[int, ...]]]:
    return [(each.contributor, each.amount, each.epochs) for each in story.all(PayoutOrdered)]


def test_orders_come_when_the_challenge_window_is_over_and_not_before() -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1), (BEN, 3))
    assert not story.wait(59).all(PayoutOrdered)
    story.wait(1)
    assert sorted(orders(story)) == sorted([(ANN, 25, (0,)), (BEN, 75, (0,))])
    assert story.last(PayoutsReleased).orders == 2
    assert all(order.recipient == order.contributor for order in story.all(PayoutOrdered))


def test_an_order_proves_its_statement_under_the_root_of_its_epoch() -> None:
    story = opened()
    roots = [paid_epoch(story, 100, (ANN, 1), (BEN, 1), (CAT, 1)).root, paid_epoch(story, 10, (ANN, 1)).root]
    for order in story.wait(60).all(PayoutOrdered):
        statement = check_statement(order.proof, root=roots[order.proof.epoch])
        assert (statement.contributor, statement.asset) == (order.contributor, order.asset)
        assert statement.cumulative >= order.ordered_before + order.amount
    proof = story.all(PayoutOrdered)[0].proof
    raised = proof.statement.replace('"cumulative":"33"', '"cumulative":"3300"')
    assert raised != proof.statement
    for forged, root in (
        (proof.model_copy(update={"statement": raised}), roots[0]),
        (proof, roots[1]),
        (proof.model_copy(update={"epoch": 1}), roots[0]),
        (proof.model_copy(update={"tree": proof.tree.model_copy(update={"index": 0})}), roots[0]),
    ):
        with pytest.raises(StatementNotProven):
            check_statement(forged, root=root)


def test_below_the_minimum_a_balance_waits_until_it_has_grown() -> None:
    story = opened(minimum=50)
    paid_epoch(story, 100, (ANN, 49), (BEN, 51))
    assert orders(story.wait(60)) == [(BEN, 51, (0,))]
    paid_epoch(story, 1, (ANN, 1))
    assert orders(story.wait(60))[1:] == [(ANN, 50, (0, 1))]
    assert story.last(PayoutOrdered).ordered_before == 0


def test_who_leaves_gets_his_balance_whatever_the_minimum() -> None:
    story = opened(minimum=50)
    paid_epoch(story, 100, (ANN, 1), (BEN, 99))
    story.tell(ContributorDraining(contributor=ANN))
    assert sorted(orders(story.wait(60))) == sorted([(ANN, 1, (0,)), (BEN, 99, (0,))])
    story.tell(ContributorAdmitted(contributor=ANN, policy="open"))
    paid_epoch(story, 100, (ANN, 1), (BEN, 99))
    assert (ANN, 1, (1,)) not in orders(story.wait(60))


def test_each_epochs_own_statements_are_ordered_once_however_the_windows_overlap() -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1))
    story.wait(30)
    paid_epoch(story, 11, (ANN, 1))
    assert orders(story.wait(30)) == [(ANN, 100, (0,))]
    assert orders(story.wait(30)) == [(ANN, 100, (0,)), (ANN, 11, (1,))]
    assert story.last(PayoutOrdered).ordered_before == 100


def test_a_payment_is_paid_when_its_slot_is_final() -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1), (BEN, 3))
    plan = planned(0, story.wait(60).all(PayoutOrdered))
    story.tell(withdrawn(100, number=5), plan)
    in_flight, paid = (contributor_account(ANN, stage) for stage in ("in-flight", "paid"))
    assert story.state.ledger.balance(ETH, in_flight) == -25
    story.tell(filled(plan, finality="observed")[0])
    assert story.state.ledger.balance(ETH, paid) == 0
    story.tell(*filled(plan))
    ledger = story.state.ledger
    assert (ledger.balance(ETH, in_flight), ledger.balance(ETH, paid)) == (0, -25)
    assert [ledger.balance(ETH, account) for account in (CLAIMABLE, TREASURY, PAID_OUT)] == [0, 0, 100]
    assert not story.state.payouts
    assert not story.state.slots
    assert len(orders(story.wait(3_600))) == 2


def test_whoever_could_not_be_paid_is_owed_as_before_and_asked_again_at_the_next_close() -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1), (BEN, 3))
    plan = planned(0, story.wait(60).all(PayoutOrdered))
    index = next(n for n, order in enumerate(plan.orders) if order.recipient == ANN)
    slot, unpaid = filled(plan, unpaid=[index])
    # In whatever order they are read.
    story.tell(unpaid, plan, slot).wait(3_600)
    assert len(orders(story)) == 2
    assert story.state.ledger.balance(ETH, contributor_account(ANN, "pending")) == -25
    paid_epoch(story, 10, (BEN, 1))
    assert sorted(orders(story.wait(60))[2:]) == sorted([(ANN, 25, (0,)), (BEN, 10, (1,))])
    again = next(each for each in story.all(PayoutOrdered)[2:] if each.contributor == ANN)
    assert (again.ordered_before, again.proof.epoch) == (0, 0)
    assert again.payout not in {each.payout for each in story.all(PayoutOrdered)[:2]}


def test_while_income_is_unexplained_nobody_is_paid_and_the_reason_is_said_once() -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1))
    story.tell(unexplained(50)).wait(3_600)
    assert not story.all(PayoutOrdered)
    assert [(each.epoch, each.step, each.reason) for each in story.all(EpochWaits)] == [
        (0, "payouts", "income-unexplained")
    ]
    assert orders(story.tell(reconciled(51)).wait(2)) == [(ANN, 100, (0,))]


@pytest.mark.parametrize("what", ["other-orders", "unplanned", "never-ordered", "another-amount"])
def test_a_slot_that_does_not_add_up_stops_further_payouts(what: str) -> None:
    story = opened()
    paid_epoch(story, 100, (ANN, 1))
    plan = planned(0, story.wait(60).all(PayoutOrdered))
    match what:
        case "other-orders":
            story.tell(plan, *filled(plan, digest="0x" + "ab" * 32))
        case "unplanned":
            story.tell(*filled(plan))
        case "never-ordered":
            order = plan.orders[0].model_copy(update={"payout": "00000000-0000-5000-8000-000000000000"})
            story.tell(plan.model_copy(update={"orders": (order,)}))
        case "another-amount":
            order = plan.orders[0].model_copy(update={"amount": 10**12})
            story.tell(plan.model_copy(update={"orders": (order,)}))
    paid_epoch(story, 5, (BEN, 1))
    assert len(orders(story.wait(3_600))) == 1
    assert story.last(EpochWaits).reason == ("slot-unplanned" if what == "unplanned" else "slot-conflict")


def test_an_asset_that_the_terms_do_not_pay_out_waits() -> None:
    story = Story().tell(terms(split=commission(0), payout={"assets": ["USDC"], "minimum": {"USDC": "0"}}))
    paid_epoch(story, 100, (ANN, 1))
    assert not orders(story.wait(60))
    assert story.last(PayoutsReleased).orders == 0
    assert story.last(StatementIssued).cumulative == 100
