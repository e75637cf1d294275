"""Money depends on content, never on arrival; and whatever happens, none is made and none is lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.events.event import Event
from millpond.events.rewards_epochs import EpochClosed, EpochClosing
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import METERING_USAGE
from millpond.stream.record import Place
from millpond_rewards.rules import LineFold, PlaceTally, fold_records
from rewards.story import ANN, BEN, CAT, ETH, Story, commission, filled, line, planned, terms, ticket, watermarks

WHO = st.sampled_from([ANN, BEN, CAT, "0x" + "00" * 20])


@dataclass(frozen=True)
class Told:
    """One input, before it has a place in any order."""

    who: str
    units: int
    held: str | None
    wei: int
    per_units: int
    income: int

    def events(self, number: int) -> list[Event]:
        work = line(self.who, self.units, number=number, held=self.held, wei=self.wei, per_units=self.per_units)
        return [work, ticket(self.income, number=number)] if self.income else [work]


TOLD = st.builds(
    Told,
    who=WHO,
    units=st.integers(0, 2**63 - 1),
    held=st.sampled_from([None, None, None, "count-differs", "unreadable"]),
    wei=st.integers(0, 2**70),
    per_units=st.sampled_from([1, 3, 7, 1_000]),
    income=st.one_of(st.just(0), st.integers(1, 2**200)),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(TOLD, max_size=12), st.integers(0, 1_000_000), st.randoms(use_true_random=False))
def test_an_epoch_comes_out_the_same_in_every_order_of_arrival(told: list[Told], share: int, random: Random) -> None:
    events = [event for number, each in enumerate(told) for event in each.events(number)]
    outcomes = []
    for _ in range(2):
        random.shuffle(events)
        # Duplicates of a ticket, in another block, change nothing.
        again = [event.model_copy(update={"block_hash": "0x" + "ee" * 32}) for event in events[:1]]
        tickets_again = [event for event in again if event.type_name == "TicketRedeemed"]
        story = Story().tell(terms(split=commission(share)), *events, *tickets_again)
        closed = story.close()
        outcomes.append((closed.pots, closed.statements, [each.to_bytes() for each in story.all(StatementIssued)]))
    assert outcomes[0] == outcomes[1]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(TOLD, max_size=5), min_size=1, max_size=5), st.integers(0, 1_000_000), st.data())
def test_over_all_epochs_what_came_in_is_somebodys_or_carried(
    epochs: list[list[Told]], share: int, data: st.DataObject
) -> None:
    story, income, number = Story().tell(terms(split=commission(share))), 0, 0
    for each in epochs:
        for told in each:
            number += 1
            income += told.income
            story.tell(*told.events(number))
        story.close()
        if data.draw(st.booleans()):
            story.wait(60)
            _pay_some(story, data)
    pots = [closed.pots[0] for closed in story.all(EpochClosed)]
    assert all(after.carried_in == before.carried_out for before, after in pairwise(pots))
    assert sum(pot.revenue for pot in pots) == income
    assert income == sum(pot.operator + pot.contributors for pot in pots) + pots[-1].carried_out
    assert pots[-1].contributors_total == sum(each.amount for each in story.all(StatementIssued))
    for who in {each.contributor for each in story.all(StatementIssued)}:
        entitled = sum(each.amount for each in story.all(StatementIssued) if each.contributor == who)
        account = story.state.accounts[who, ETH]
        assert account.ordered <= entitled == story.state.opening.cumulative[who, ETH]
    assert story.rebuilt().state.accounts == story.state.accounts


def _pay_some(story: Story, data: st.DataObject) -> None:
    waiting = [order for order in story.all(PayoutOrdered) if order.payout in story.state.payouts]
    if not waiting:
        return
    plan = planned(len(story.all(EpochClosed)), waiting)
    unpaid = data.draw(st.sets(st.integers(0, len(waiting) - 1)))
    events = [plan, *filled(plan, unpaid=sorted(unpaid))]
    story.tell(*data.draw(st.permutations(events)))


@settings(max_examples=20, deadline=None)
@given(st.lists(TOLD, min_size=1, max_size=6), st.integers(0, 999_999), st.integers(1, 1_000_000))
def test_pay_never_rises_when_the_commission_does(told: list[Told], low: int, more: int) -> None:
    def amounts(share: int) -> dict[str, int]:
        story = Story().tell(terms(split=commission(share)))
        story.tell(*(event for number, each in enumerate(told) for event in each.events(number))).close()
        return story.amounts()

    before, after = amounts(low), amounts(min(low + more, 1_000_000))
    assert all(after[who] <= amount for who, amount in before.items())


@settings(max_examples=15, deadline=None)
@given(st.lists(TOLD, max_size=6), st.randoms(use_true_random=False))
def test_lines_fall_before_or_behind_the_cut_and_never_twice(told: list[Told], random: Random) -> None:
    """While metering answers partition by partition, lines go on arriving."""
    story = Story().tell(terms(split=commission(0)), ticket(10**18, number=900)).end_by_command().wait()
    answers: list[tuple[Event, int | None]] = [*watermarks(story.last(EpochClosing))]
    answers += [(each.events(number)[0], None) for number, each in enumerate(told)]
    random.shuffle(answers)
    for event, partition in answers:
        story.tell(event, partition=partition).wait()
    story.close()
    epochs = story.all(EpochClosed)
    assert sum(head.size for closed in epochs for head in closed.lines) == len(told)
    places = [{(part.topic, part.partition): part for part in closed.cut} for closed in epochs]
    for before, after in pairwise(places):
        assert all(after[place].start == part.next_offset for place, part in before.items())


@settings(max_examples=20, deadline=None)
@given(st.lists(TOLD, max_size=12), st.integers(0, 12))
def test_folded_quickly_lines_come_to_the_same(told: list[Told], cut: int) -> None:
    story = Story()
    for number, each in enumerate(told):
        story.tell(each.events(number)[0])
    for partition, expected in enumerate(story.state.lines):
        place = Place(METERING_USAGE.name, partition)
        records, fold = story.logs.get(place, []), LineFold()
        tally = fold_records(fold_records(PlaceTally(), fold, records[:cut]), fold, records[cut:])
        assert tally == story.state.tallies[place]
        assert (fold.work, fold.tree.root()) == (expected.work, expected.tree.root())
