"""Paying what is ordered: what is checked, what waits and why, what is signed once and sent again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.events.chain_revenue import FeesWithdrawn
from millpond.events.event import Event
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered, PayoutWithdrawn
from millpond.events.treasury_settlements import (
    FeesWithdrawalRefused,
    FeesWithdrawalSigned,
    FloatAsked,
    PaymentsStopped,
    PayoutHeld,
    PayoutSettled,
    SlotBroadcast,
    SlotPlanned,
    SlotSigned,
    SlotSigningAsked,
)
from millpond.stream.record import Place
from millpond_treasury.rules.findings import Float, NotNow, Sent
from rewards.story import (
    ANN,
    BEN,
    CAT,
    CONTRACT,
    ORCHESTRATOR,
    digest,
    filled,
    reconciled,
    unexplained,
    withdrawn,
)
from treasury.story import (
    ETHER,
    TREASURY,
    WALLET,
    Desk,
    epoch,
    forged,
    of_slot,
    offered,
    ordered,
    transaction,
    withdraw,
)

MINUTE = 60.0


def paying() -> Desk:
    """Three orders are signed, sent, and in no block yet."""
    return Desk().believe().tell(*ordered()).wait()


def reasons(desk: Desk) -> dict[str, str]:
    """By payee, why he waits."""
    by_payout = {order.payout: order.contributor for order in ordered()}
    return {by_payout.get(held.payout, held.payout): held.reason for held in desk.all(PayoutHeld)}


def test_orders_are_planned_signed_sent_and_settled() -> None:
    desk = paying()
    assert [type(event).__name__ for event in desk.said] == [
        "FloatAsked",
        "SlotPlanned",
        "SlotSigningAsked",
        "SlotSigned",
        "SlotBroadcast",
    ]
    plan = desk.last(SlotPlanned)
    assert {order.recipient: order.amount for order in plan.orders} == {
        order.contributor: order.amount for order in ordered()
    }
    assert desk.last(SlotSigned).digest == plan.digest
    desk.fill()
    assert {each.outcome for each in desk.all(PayoutSettled)} == {"paid"}
    assert len(desk.all(PayoutSettled)) == 3
    desk.wait(10 * MINUTE)
    assert len(desk.all(SlotSigned)) == 1
    assert desk.state.slot is None


@given(st.permutations([0, 1, 2, 3, 4, 5]))
@settings(max_examples=30, deadline=None)
def test_whom_it_pays_is_the_same_in_every_order_of_arrival(places: list[int]) -> None:
    inputs: list[Event] = [offered(), epoch().last(EpochClosed), epoch().last(Checkpoint), *ordered()]
    # The epoch and its checkpoint stand on one partition.
    closed, checkpoint = sorted((places.index(1), places.index(2)))
    arranged = [inputs[place] for place in places]
    arranged[closed], arranged[checkpoint] = inputs[1], inputs[2]
    desk = Desk().tell(*arranged).wait()
    (plan,) = desk.all(SlotPlanned)
    assert plan.model_copy(update={"as_of": paying().last(SlotPlanned).as_of}) == paying().last(SlotPlanned)


def test_an_order_without_a_checkpoint_waits_and_says_so_once() -> None:
    desk = Desk().tell(*ordered()).wait(10 * MINUTE)
    assert [held.reason for held in desk.all(PayoutHeld)] == ["checkpoint-missing"] * 3
    assert not desk.all(FloatAsked)
    desk.believe().wait()
    assert desk.all(SlotSigned)


def test_a_checkpoint_of_another_key_is_none() -> None:
    desk = Desk().tell(offered("0x" + "ab" * 32), epoch().last(EpochClosed), epoch().last(Checkpoint))
    desk.tell(*ordered()).wait()
    assert set(reasons(desk).values()) == {"checkpoint-missing"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"amount": 10**18 + 1}, "above-statement"),
        ({"contributor": CAT, "recipient": CAT}, "statement-not-proven"),
        ({"recipient": CAT}, "payee-not-contributor"),
        ({"recipient": "0x" + "00" * 20}, "payee-invalid"),
        ({"recipient": WALLET, "contributor": WALLET}, "payee-invalid"),
        ({"recipient": CONTRACT, "contributor": CONTRACT}, "payee-invalid"),
        ({"recipient": ORCHESTRATOR, "contributor": ORCHESTRATOR}, "payee-invalid"),
        ({"asset": "eip155:31337/erc20:" + CONTRACT}, "asset-not-payable"),
    ],
)
def test_a_forged_order_is_never_planned(changes: dict[str, Any], reason: str) -> None:
    (first, *_) = [order for order in ordered() if order.contributor == ANN]
    order = forged(first, **changes)
    desk = Desk().believe().tell(order).wait(10 * MINUTE)
    assert [held.reason for held in desk.all(PayoutHeld)] == [reason]
    assert not desk.all(SlotPlanned)


def test_an_order_with_the_id_of_another_is_refused() -> None:
    order = ordered()[0].model_copy(update={"payout": ordered()[1].payout})
    desk = Desk().believe().tell(order).wait()
    assert [held.reason for held in desk.all(PayoutHeld)] == ["payout-id-differs"]


def test_a_second_order_for_the_same_statement_is_above_it() -> None:
    desk = paying().fill()
    (first, *_) = [order for order in ordered() if order.contributor == ANN]
    desk.tell(forged(first, epoch=first.epoch + 1)).wait()
    assert [held.reason for held in desk.all(PayoutHeld)] == ["above-statement"]
    assert len(desk.all(SlotPlanned)) == 1


def test_all_orders_together_are_never_above_what_was_earned() -> None:
    desk = Desk().believe()
    desk.state = replace(desk.state, earned={ordered()[0].asset: sum(order.amount for order in ordered()) - 1})
    desk.tell(*ordered()).wait()
    assert len(desk.last(SlotPlanned).orders) == 2
    desk.fill()
    assert [held.reason for held in desk.all(PayoutHeld)] == ["above-pots"]


def test_too_little_money_pays_those_that_fit_and_says_what_is_missing() -> None:
    amounts = {order.contributor: order.amount for order in ordered()}
    desk = Desk(balance=amounts[BEN] + amounts[CAT] + 1_000_000).believe().tell(*ordered()).wait()
    held = desk.all(PayoutHeld)
    assert {each.reason for each in held} == {"insufficient-float"}
    assert "wei" in held[0].sentence
    planned = {order.recipient for order in desk.last(SlotPlanned).orders}
    assert planned
    desk.fill()
    desk.balance = 10 * ETHER
    desk.wait(2 * MINUTE)
    desk.fill()
    assert {each.recipient for each in desk.all(PayoutSettled)} == {ANN, BEN, CAT}
    assert len(desk.all(PayoutSettled)) == 3


def test_payouts_wait_while_income_is_unexplained() -> None:
    desk = Desk().believe().tell(unexplained(5), *ordered()).wait(10 * MINUTE)
    assert set(reasons(desk).values()) == {"income-unexplained"}
    assert not desk.all(SlotPlanned)
    desk.tell(reconciled(6)).wait()
    assert desk.all(SlotSigned)


def test_what_was_planned_is_not_signed_while_income_is_unexplained() -> None:
    desk = Desk()
    desk.answers = lambda event: desk.not_now() if isinstance(event, SlotSigningAsked) else desk.chain(event)
    desk.believe().tell(*ordered()).wait()
    desk.tell(unexplained(5))
    desk.answers = None
    desk.wait(10 * MINUTE)
    assert not desk.all(SlotSigned)
    desk.tell(reconciled(6)).wait()
    assert desk.all(SlotSigned)


def test_nothing_begins_while_an_input_is_stopped() -> None:
    desk = Desk(unread=frozenset({Place("chain.revenue.v1", 0)})).believe().tell(*ordered()).wait(10 * MINUTE)
    assert [held.reason for held in desk.all(PayoutHeld)] == ["inputs-stopped"] * 3
    assert not desk.all(FloatAsked)
    desk.unread = frozenset()
    desk.wait(MINUTE)
    assert desk.all(SlotSigned)
    # What is on its way goes on.
    desk.unread = frozenset({Place("chain.revenue.v1", 0)})
    sent = len(desk.all(SlotBroadcast))
    desk.wait(MINUTE)
    assert len(desk.all(SlotBroadcast)) > sent


def test_what_cannot_be_signed_is_asked_ever_more_seldom() -> None:
    desk = Desk()
    desk.answers = lambda event: desk.not_now() if isinstance(event, SlotSigningAsked) else desk.chain(event)
    desk.believe().tell(*ordered()).wait(240 * MINUTE)
    assert len(desk.all(SlotSigningAsked)) < 40
    desk.answers = None
    desk.tell(withdrawn(1, number=9)).wait()
    assert desk.all(SlotSigned)


def test_the_same_bytes_go_out_again_until_they_are_in_a_block() -> None:
    desk = paying().wait(40)
    sent = desk.all(SlotBroadcast)
    assert len(sent) == 4
    assert len(set(map(Event.to_bytes, desk.all(SlotSigned)))) == 1
    observed = of_slot(filled(desk.last(SlotPlanned)), "observed")
    desk.tell(*observed).wait(60 * MINUTE)
    assert desk.all(SlotBroadcast) == sent
    desk.tell(*of_slot(filled(desk.last(SlotPlanned)), "orphaned")).wait()
    assert len(desk.all(SlotBroadcast)) > len(sent)


def test_a_higher_fee_keeps_slot_digest_and_nonce() -> None:
    desk = paying().wait(3 * MINUTE)
    first, *_, last = desk.all(SlotSigned)
    assert last.version > 1
    assert {(each.slot, each.digest, each.nonce) for each in (first, last)} == {(0, first.digest, first.nonce)}
    assert desk.last(SlotSigningAsked).nonce == first.nonce
    assert last.fee_per_gas_max > first.fee_per_gas_max
    assert len(desk.all(SlotPlanned)) == 1


def test_a_fee_above_the_cap_waits_and_the_old_bytes_go_on() -> None:
    desk = paying()
    desk.answers = lambda e: desk.not_now("fee-above-cap") if isinstance(e, SlotSigningAsked) else desk.chain(e)
    desk.wait(60 * MINUTE)
    assert {each.version for each in desk.all(SlotSigned)} == {1}
    assert set(reasons(desk).values()) == {"fee-above-cap"}
    assert len(desk.all(SlotBroadcast)) > 12


def test_a_payee_who_cannot_take_it_gets_nothing_and_stays_owed() -> None:
    desk = paying()
    desk.fill(unpaid=[1])
    outcomes = [(each.outcome, each.reason) for each in desk.all(PayoutSettled)]
    assert outcomes == [("paid", None), ("returned", "payee-reverts"), ("paid", None)]
    again = next(order for order in ordered() if order.recipient == desk.last(SlotPlanned).orders[1].recipient)
    desk.tell(forged(again, epoch=again.epoch + 1)).wait()
    assert [order.recipient for order in desk.last(SlotPlanned).orders] == [again.recipient]
    assert desk.last(SlotPlanned).slot == 1


def test_a_slot_filled_with_other_orders_stops_everything() -> None:
    desk = paying()
    desk.fill(digest=digest("other"))
    (stopped,) = desk.all(PaymentsStopped)
    assert stopped.reason == "slot-digest-differs"
    known = len(desk.said)
    desk.wait(60 * MINUTE)
    assert len(desk.said) == known


def test_a_slot_that_nobody_planned_stops_everything() -> None:
    desk = Desk().believe()
    plan = paying().last(SlotPlanned)
    desk.fill(plan).tell(*ordered()).wait()
    assert [each.reason for each in desk.all(PaymentsStopped)] == ["slot-foreign"]
    assert not desk.all(SlotPlanned)


def test_a_failed_transaction_is_signed_anew_for_the_same_slot_and_digest() -> None:
    desk = paying()
    first = desk.last(SlotSigned)
    desk.tell(transaction(first.nonce, first.transaction, succeeded=False)).wait(10)
    second = desk.last(SlotSigned)
    assert (second.version, second.nonce, second.digest) == (2, first.nonce + 1, first.digest)
    assert desk.last(SlotSigningAsked).reverts == 1


def test_a_nonce_that_a_foreign_transaction_took_is_given_up() -> None:
    desk = paying()
    first = desk.last(SlotSigned)
    desk.tell(transaction(first.nonce, digest("foreign"))).wait(10)
    assert desk.last(SlotSigned).nonce == first.nonce + 1
    assert desk.last(SlotSigned).digest == first.digest


def test_an_answer_that_comes_twice_signs_once() -> None:
    desk = paying()
    asked, known = desk.last(SlotSigningAsked), len(desk.said)
    desk.read_back(asked, desk.signed(asked))
    desk.read_back(desk.all(FloatAsked)[0], Float(10 * ETHER, 1, False, desk.now_ms))
    assert len(desk.said) == known


def test_a_node_that_is_away_is_asked_again() -> None:
    desk = Desk()
    desk.answers = lambda event: desk.not_now() if isinstance(event, FloatAsked) else None
    desk.believe().tell(*ordered()).wait(2 * MINUTE)
    assert set(reasons(desk).values()) == {"chain-away"}
    assert len(desk.all(FloatAsked)) > 3
    desk.answers = None
    desk.wait(MINUTE).fill()
    assert len(desk.all(PayoutSettled)) == 3


def test_an_order_can_be_withdrawn_only_before_it_is_planned() -> None:
    taken_back = PayoutWithdrawn(
        payout=ordered()[0].payout,
        contributor=ordered()[0].contributor,
        reason="disputed",
        sentence="A dispute.",
        as_of=ordered()[0].as_of,
    )
    desk = Desk().tell(*ordered(), taken_back).believe().wait()
    assert [each.outcome for each in desk.all(PayoutSettled)] == ["withdrawn"]
    assert len(desk.last(SlotPlanned).orders) == 2
    late = paying().tell(taken_back).wait()
    assert not late.all(PayoutSettled)
    late.fill()
    assert {each.outcome for each in late.all(PayoutSettled)} == {"paid"}


@pytest.mark.parametrize("after", range(1, 9))
def test_a_lost_database_is_rebuilt_and_pays_once(after: int) -> None:
    """Cut off after so many of its own events; what was asked is asked again, what was signed is sent again."""
    desk = paying()
    desk.fill(unpaid=[2])
    whole = desk.said
    desk.said = whole[:after]
    again = desk.rebuilt()
    again.wait(MINUTE)
    plans = {plan.slot: plan.digest for plan in again.all(SlotPlanned)}
    if after == 1:
        # It had asked, and planned nothing: and then the chain says that somebody filled the slot.
        assert again.state.stopped
        return
    assert plans == {0: whole[1].digest}  # type: ignore[attr-defined]
    assert [each.outcome for each in again.all(PayoutSettled)] == ["paid", "paid", "returned"]
    if after >= 4:
        assert {each.transaction for each in again.all(SlotSigned)} == {whole[3].transaction}  # type: ignore[attr-defined]
    assert again.state.slot is None


@pytest.mark.parametrize("after", [1, 2, 3, 4, 5])
def test_a_rebuilt_treasury_asks_again_what_may_have_no_answer(after: int) -> None:
    desk = paying()
    desk.said = desk.said[:after]
    again = desk.rebuilt().wait(MINUTE)
    assert {each.digest for each in again.all(SlotSigned)} == {paying().last(SlotSigned).digest}
    again.fill()
    assert len(again.all(PayoutSettled)) == 3


def test_fees_are_withdrawn_on_command_once() -> None:
    desk = Desk().tell(withdraw(5 * ETHER), withdraw(5 * ETHER)).wait()
    signed = desk.last(FeesWithdrawalSigned)
    assert (signed.amount, signed.recipient, signed.orchestrator) == (5 * ETHER, WALLET, ORCHESTRATOR)
    final = withdrawn(5 * ETHER, number=9).model_copy(update={"transaction": signed.transaction})
    desk.tell(final).wait(10 * MINUTE)
    assert {each.transaction for each in desk.all(FeesWithdrawalSigned)} == {signed.transaction}
    assert desk.state.withdrawal is None
    assert isinstance(final, FeesWithdrawn)


@pytest.mark.parametrize(
    ("changes", "treasury", "reason"),
    [
        ({"recipient": ANN}, {}, "recipient-not-treasury"),
        ({"amount": 0}, {}, "nothing-asked"),
        ({}, {"withdraws": False}, "orchestrator-key-missing"),
    ],
)
def test_a_withdrawal_that_is_not_in_order_is_refused(
    changes: dict[str, Any], treasury: dict[str, Any], reason: str
) -> None:
    command = withdraw(changes.pop("amount", 1), **changes)
    desk = Desk(treasury=replace(TREASURY, **treasury)).tell(command).wait()
    assert [each.reason for each in desk.all(FeesWithdrawalRefused)] == [reason]


def test_a_withdrawal_that_would_fail_is_refused_and_payouts_go_on() -> None:
    desk = Desk()
    never = NotNow("would-revert", "No.", desk.now_ms, for_good=True)
    desk.answers = lambda e: never if type(e).__name__ == "FeesWithdrawalAsked" else desk.chain(e)
    desk.believe().tell(withdraw(1), *ordered()).wait()
    assert [each.reason for each in desk.all(FeesWithdrawalRefused)] == ["would-revert"]
    assert desk.all(SlotSigned)


def test_a_withdrawal_that_failed_in_a_block_is_refused() -> None:
    desk = Desk()
    reverted = Sent("known", "", desk.now_ms, reverted=True)
    desk.answers = lambda e: reverted if isinstance(e, FeesWithdrawalSigned) else desk.chain(e)
    desk.tell(withdraw(1)).wait()
    assert [each.reason for each in desk.all(FeesWithdrawalRefused)] == ["withdrawal-failed"]
    assert isinstance(ordered()[0], PayoutOrdered)
