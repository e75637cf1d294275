"""What comes out does so whatever is audited at a time; and what was tampered with is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from audit.topics import Pond
from metering.samples import story as job
from millpond.chain.payouts import Batch, Order
from millpond.events.chain_revenue import TicketRedeemed
from millpond.events.chain_transfers import ETH
from millpond.events.event import Event
from millpond.events.metering_usage import UsageRecorded, Watermark
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import (
    AGENT_RESULTS,
    CHAIN_REVENUE,
    INSPECTOR_OBSERVATIONS,
    METERING_USAGE,
    REWARDS_EPOCHS,
    REWARDS_PAYOUTS,
    REWARDS_STATEMENTS,
    SCHEDULER_ASSIGNMENTS,
)
from millpond.events.treasury_settlements import SlotPlanned
from millpond.stream.memory.log import MemoryLog
from millpond.stream.record import Place, Record
from millpond_cli.audit.difference import Difference
from millpond_cli.audit.logs import at_hand
from millpond_cli.audit.report import rows, totals
from millpond_cli.audit.run import Audited, Plan, run_audit
from rewards.story import ANN, BEN, CAT, filled, planned, ticket

Logs = dict[Place, list[Record]]


@pytest.fixture(scope="module")
def pond() -> Pond:
    """Three epochs: two who are paid, one of them held in part; no income; income again. One payee's money came back."""
    pond = Pond().begin()
    pond.work(ANN, "a").work(BEN, "b").work(ANN, "c", claims=7).tell(ticket(10**18 + 7, number=1))
    pond.close()
    pond.wait(100)
    plan = planned_as_the_contract_does(0, pond.all(PayoutOrdered))
    pond.tell(plan, *filled(plan, unpaid=[1]))
    pond.work(CAT, "d").work(ANN, "e")
    pond.close()
    pond.wait(100)
    pond.tell(ticket(10**17, number=2))
    pond.close()
    pond.wait(100)
    return pond


def planned_as_the_contract_does(slot: int, orders: list[PayoutOrdered]) -> SlotPlanned:
    plan = planned(slot, orders)
    payees = tuple(Order(order.recipient, order.amount) for order in plan.orders)
    digest = Batch(31_337, plan.contract, slot, plan.epoch_root, ETH, payees).digest()
    return plan.model_copy(update={"digest": digest})


def audit(log: MemoryLog, epoch: int | None = None, levels: int = 3) -> Audited:
    return run_audit(lambda: at_hand(log), Plan("memory", epoch, levels, processes=1))


def found_in(pond: Pond, change: Callable[[Logs], None], levels: int = 3) -> Difference:
    with pytest.raises(Difference) as found:
        audit(pond.log(change), levels=levels)
    return found.value


def flipped(record: Record, old: bytes, new: bytes) -> Record:
    assert record.value is not None
    assert old in record.value, record.value
    return replace_value(record, record.value.replace(old, new, 1))


def replace_value(record: Record, value: bytes) -> Record:
    return record._replace(value=value)


def at(logs: Logs, topic: str, kind: type, number: int = 0) -> tuple[list[Record], int]:
    """The list that holds the ``number``-th record of a kind on a topic, and its index there."""
    found = [
        (records, index)
        for place, records in sorted(logs.items())
        if place.topic == topic
        for index, record in enumerate(records)
        if (record.header("ce_type") or b"").decode() == kind.__name__
    ]
    return found[number]


def test_all_epochs_and_each_by_itself_come_out(pond: Pond) -> None:
    log = pond.log()
    audited = audit(log)
    assert [each.contributor for each in rows(audited)] == sorted([ANN, BEN, CAT])
    (total,) = totals(audited)
    assert total.revenue == 10**18 + 7 + 10**17
    assert sum(row.owed for row in rows(audited)) == total.contributors
    paid, came_back = audited.settled.planned[0].event.orders
    assert {row.contributor: row.paid for row in rows(audited)} == {
        paid.recipient: paid.amount,
        came_back.recipient: 0,
        CAT: 0,
    }
    for epoch in audited.epochs:
        assert audit(log, epoch).closed == [audited.published.closed[epoch].event]


def test_a_changed_byte_of_a_line_is_named(pond: Pond) -> None:
    spot = {}

    def change(logs: Logs) -> None:
        records, index = at(logs, METERING_USAGE.name, UsageRecorded, 1)
        spot["is"] = f"{records[index].place}@{index}"
        records[index] = flipped(records[index], b'"gateway":"acme"', b'"gateway":"acmf"')

    found = found_in(pond, change, levels=1)
    assert spot["is"] in str(found)
    assert "the pool's signature" in str(found)


def test_a_dropped_line_is_named_by_the_number_that_is_missing(pond: Pond) -> None:
    def change(logs: Logs) -> None:
        records, index = at(logs, METERING_USAGE.name, UsageRecorded)
        del records[index]

    found = found_in(pond, change, levels=1)
    assert "is missing, or out of order" in str(found)
    assert "metering.usage.v1" in str(found.facts["behind"])


def test_two_lines_in_another_order_are_named(pond: Pond) -> None:
    def change(logs: Logs) -> None:
        records, index = at(logs, METERING_USAGE.name, UsageRecorded)
        records[index], records[index + 1] = records[index + 1], records[index]

    assert "out of order" in str(found_in(pond, change, levels=1))


def test_a_ticket_of_another_amount_is_not_what_rewards_had_read(pond: Pond) -> None:
    def change(logs: Logs) -> None:
        records, index = at(logs, CHAIN_REVENUE.name, TicketRedeemed)
        records[index] = flipped(records[index], b'"amount":"1000000000000000007"', b'"amount":"2000000000000000007"')

    found = found_in(pond, change)
    assert "chain.revenue.v1[0] is not what rewards had read" in str(found)


def test_an_amount_of_a_statement_is_named(pond: Pond) -> None:
    spot = {}

    def change(logs: Logs) -> None:
        records, index = at(logs, REWARDS_STATEMENTS.name, StatementIssued)
        amount = json.loads(records[index].value or b"")["amount"]
        spot["is"] = f"{records[index].place}@{index}"
        spot["amount"] = amount
        records[index] = flipped(
            records[index], f'"amount":"{amount}"'.encode(), f'"amount":"{int(amount) + 1}"'.encode()
        )

    found = found_in(pond, change)
    assert "says something else in amount" in str(found)
    assert spot["is"] in str(found.facts["behind"])
    assert str(int(spot["amount"]) + 1) in str(found.facts["published"])
    assert spot["amount"] in str(found.facts["found"])


def test_a_pot_that_is_not_what_was_signed_is_named(pond: Pond) -> None:
    def change(logs: Logs) -> None:
        records, index = at(logs, REWARDS_EPOCHS.name, EpochClosed, 1)
        records[index] = flipped(records[index], b'"operator":"0"', b'"operator":"1"')

    found = found_in(pond, change)
    assert "EpochClosed of epoch 1 is not what the checkpoint says" in str(found)


def test_an_order_of_another_amount_is_named(pond: Pond) -> None:
    def change(logs: Logs) -> None:
        records, index = at(logs, REWARDS_PAYOUTS.name, PayoutOrdered)
        amount = json.loads(records[index].value or b"")["amount"]
        records[index] = flipped(records[index], f'"amount":"{amount}"'.encode(), b'"amount":"5"')

    assert "5" in str(found_in(pond, change).facts["published"])


@pytest.mark.parametrize(
    ("topic", "kind", "old", "new", "said"),
    [
        (SCHEDULER_ASSIGNMENTS.name, "JobAccepted", b'"wei":"1200"', b'"wei":"1300"', "at another price"),
        (AGENT_RESULTS.name, "JobSucceeded", b'\\"frames\\":25', b'\\"frames\\":26', "make no line"),
        (
            INSPECTOR_OBSERVATIONS.name,
            "OutputObserved",
            b'"frames":25',
            b'"frames":24',
            "does not follow from its sources",
        ),
    ],
)
def test_a_changed_source_of_a_line_is_named(
    pond: Pond, topic: str, kind: str, old: bytes, new: bytes, said: str
) -> None:
    spot = {}

    def change(logs: Logs) -> None:
        for place, records in sorted(logs.items()):
            for index, record in enumerate(records):
                if place.topic == topic and record.header("ce_type") == kind.encode() and not spot:
                    records[index] = flipped(record, old, new)
                    spot["is"] = f"{place}@{index}"

    found = found_in(pond, change)
    assert said in str(found)
    assert spot["is"] in str(found.facts["behind"])


def test_an_attempt_that_was_kept_and_has_no_line_is_named() -> None:
    pond = Pond().begin().work(ANN, "a")
    kept = [pond.put(event, told.job) for told in [job("b")] for event in told.events]
    pond.tell(ticket(10**18, number=1))
    pond.close()
    with pytest.raises(Difference, match="was kept, and has no line") as found:
        audit(pond.log())
    assert f"{kept[1].place}@{kept[1].offset}" in str(found.value.facts["behind"])
    audit(pond.log(), levels=1)


def test_an_epoch_that_was_closed_before_metering_had_answered_is_named() -> None:
    pond = Hasty().begin().work(ANN, "a")
    pond.close()
    with pytest.raises(Difference, match="Metering did not say before the cut"):
        audit(pond.log())
    audit(pond.log(), levels=1)


class Hasty(Pond):
    """A rewards that doesn't wait."""

    def tell(self, *events: Event, key: str = "key", partition: int | None = None) -> Hasty:
        if isinstance(events[0], Watermark) and (events[0].partition, partition) == (3, 4):
            self.state = replace(self.state, watermarks=self.state.watermarks | {(4, 3)})
            return self
        super().tell(*events, key=key, partition=partition)
        return self
