"""What is said about the chain, and when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.events.chain_revenue import (
    ClaimableSnapshot,
    FeesWithdrawn,
    IncomeReconciled,
    IncomeUnexplained,
    RoundStarted,
    TicketRedeemed,
)
from millpond.events.on_chain import InTransaction
from millpond_chain_watcher.rules import (
    Books,
    ContractNamed,
    Contracts,
    Sighting,
    SightingMissing,
    book,
    finalise,
    is_worth_saying,
    observe,
    orphans,
    reconcile,
)

OURS = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"
AT = {"chain_id": 1, "block_time": datetime(2026, 1, 2, tzinfo=UTC)}


def word(number: int) -> str:
    return f"0x{number:064x}"


def about(block: int, log_index: int, branch: int) -> dict[str, object]:
    at = {"block_number": block, "block_hash": word(1_000 * branch + block), **AT}
    return {**at, "transaction": word(log_index), "finality": "observed", "log_index": log_index}


def ticket(block: int, log_index: int = 0, amount: int = 1, branch: int = 0) -> Sighting:
    paid = {"orchestrator": OURS, "sender": OURS, "face_value": amount, "amount": amount, "ticket": word(9)}
    return sighting(TicketRedeemed(**about(block, log_index, branch), **paid))


def sighting(event: InTransaction) -> Sighting:
    return Sighting("chain.revenue.v1", OURS, event)


def known(*sightings: Sighting) -> dict[str, Sighting]:
    return {each.item: each for each in sightings}


def snapshot(fees: int, stake: int = 0) -> ClaimableSnapshot:
    claim = {"orchestrator": OURS, "pending_fees": fees, "pending_stake": stake}
    return ClaimableSnapshot(block_number=5, block_hash=word(5), **AT, **claim)


def test_what_was_said_is_not_said_again_on_the_same_branch_only() -> None:
    assert observe(known(ticket(1)), [ticket(1), ticket(2), ticket(1, branch=1)]) == [ticket(2), ticket(1, branch=1)]


def test_only_another_block_in_its_place_makes_an_orphan() -> None:
    stays, replaced, unknown = ticket(1), ticket(2), ticket(3)
    assert orphans([stays, replaced, unknown], {1: word(1), 2: word(1_002)}) == [replaced]


def test_something_said_that_is_not_in_its_final_block_is_not_believed_to_be_gone() -> None:
    later = ticket(4)
    assert finalise([ticket(1), later], [ticket(1), ticket(2)], 3) == [ticket(1), ticket(2)]
    with pytest.raises(SightingMissing):
        finalise([ticket(1), later], [ticket(1), ticket(2)], 4)


@given(st.lists(st.integers(0, 2**200)), st.lists(st.integers(0, 2**200)))
def test_the_books_are_the_sum_of_what_came_and_went(incomes: list[int], withdrawals: list[int]) -> None:
    out = [
        sighting(FeesWithdrawn(**about(1, n, 0), orchestrator=OURS, recipient=OURS, amount=amount))
        for n, amount in enumerate(withdrawals)
    ]
    books = book(Books(7), [*(ticket(1, n, amount) for n, amount in enumerate(incomes)), *out])
    assert books.expected == 7 + sum(incomes) - sum(withdrawals)


@pytest.mark.parametrize(
    ("found", "verdict"), [(9, IncomeUnexplained), (10, IncomeReconciled), (11, IncomeUnexplained)]
)
def test_a_single_wei_is_a_difference(found: int, verdict: type) -> None:
    assert type(reconcile(snapshot(found), Books(10))) is verdict


def test_a_difference_says_how_much_and_which_way() -> None:
    more, less = (reconcile(snapshot(found), Books(10)) for found in (13, 8))
    assert isinstance(more, IncomeUnexplained)
    assert isinstance(less, IncomeUnexplained)
    assert "3 wei more" in more.sentence
    assert "2 wei less" in less.sentence


def test_a_snapshot_is_said_when_something_changed_and_once_a_round() -> None:
    round_started = sighting(RoundStarted(**about(5, 0, 0), round=3))
    assert is_worth_saying(snapshot(1), Books(1), None, [])
    assert not is_worth_saying(snapshot(1), Books(1), (1, 0, 1), [])
    assert is_worth_saying(snapshot(1), Books(2), (1, 0, 1), [])
    assert is_worth_saying(snapshot(1, stake=1), Books(1), (1, 0, 1), [])
    assert is_worth_saying(snapshot(1), Books(1), (1, 0, 1), [round_started])


def test_a_contract_has_the_name_that_it_had_when_it_logged() -> None:
    moved = ContractNamed(5, 3, "TicketBroker", "new")
    contracts = Contracts({"TicketBroker": "old"}, (moved,))
    assert [contracts.at("TicketBroker", *place) for place in ((4, 9), (5, 2), (5, 3), (5, 4), (6, 0))] == [
        "old",
        "old",
        "old",
        "new",
        "new",
    ]
    assert contracts.after(4).addresses == {"TicketBroker": "old"}
    assert contracts.after(5).addresses == {"TicketBroker": "new"}
    assert contracts.all() == {"old", "new"}
