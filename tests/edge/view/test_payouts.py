"""In whatever order the topics are read, each contributor is told all that is his, once, and nothing else."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from edge.money import held, of_nobody, ordered, settled, statement, topic_of, withdrawn
from millpond.events.event import Event
from millpond.stream.cursor import Cursor
from millpond.stream.decision import Received
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond_edge.view.payouts import PayoutChange, Payouts

ALICE, BOB = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf", "0x2B5AD5c4795c026514f8317c7a215E218DcCD6cF"


class Topics:
    """The three topics, written in the order in which things happened."""

    def __init__(self, *events: Event) -> None:
        self.places: dict[Place, list[Received]] = {}
        for event in events:
            topic = topic_of(event)
            key = getattr(event, "contributor", "x")
            place = Place(topic.name, partition_of(key.encode(), topic.partitions))
            records = self.places.setdefault(place, [])
            records.append(Received(topic.name, place, len(records), key, event, 0, event.to_bytes()))

    def read(self, chance: random.Random) -> Payouts:
        """By an edge to which the places come in any order, each from its beginning."""
        model, left = Payouts(), [list(records) for records in self.places.values()]
        while left:
            records = chance.choice(left)
            model.apply(records.pop(0))
            left = [each for each in left if each]
        return model


def names(changes: Iterable[PayoutChange]) -> list[tuple[str, int]]:
    return [(change.type_name, change.epoch) for change in changes]


def model_of(*events: Event) -> Payouts:
    model, offsets = Payouts(), dict[Place, int]()
    for event in events:
        topic = topic_of(event)
        place = Place(topic.name, 0)
        offset = offsets[place] = offsets.get(place, -1) + 1
        model.apply(Received(topic.name, place, offset, "", event, 0, event.to_bytes()))
    return model


def test_a_settlement_is_told_to_whom_the_order_is_for() -> None:
    model = model_of(statement(ALICE), ordered(ALICE, 3), held(ALICE, 3), of_nobody(), settled(ALICE, 3))
    assert names(model.changes(ALICE)) == [
        ("StatementIssued", 0),
        ("PayoutOrdered", 3),
        ("PayoutHeld", 3),
        ("PayoutSettled", 3),
    ]
    assert names(model.changes(BOB)) == []
    assert model.changes(ALICE)[3].value == settled(ALICE, 3).to_bytes()


def test_what_comes_before_its_order_waits_for_it_and_what_is_behind_it_too() -> None:
    model = model_of(ordered(BOB), settled(ALICE), settled(BOB))
    assert names(model.changes(BOB)) == [("PayoutOrdered", 0)]
    told = model.told(Cursor({Place(topic_of(settled(BOB)).name, 0): 2}))
    # Who begins now is still to be told both.
    assert told == Cursor({})
    model = model_of(ordered(BOB), settled(ALICE), settled(BOB), ordered(ALICE))
    assert names(model.changes(BOB)) == [("PayoutOrdered", 0), ("PayoutSettled", 0)]
    assert names(model.changes(ALICE)) == [("PayoutOrdered", 0), ("PayoutSettled", 0)]
    assert model.told(Cursor({Place("x", 0): 2})) == Cursor({Place("x", 0): 2})


LIVES: dict[str, Sequence[Event]] = {
    f"{who} {epoch}": life
    for who in (ALICE, BOB)
    for epoch in range(3)
    for life in (
        (statement(who, epoch), ordered(who, epoch), held(who, epoch), withdrawn(who, epoch), settled(who, epoch)),
    )
}


@st.composite
def stories(draw: st.DrawFn) -> list[Event]:
    """Lives of payouts, some cut short, in one order that could have happened."""
    left = [[*life[: draw(st.integers(0, len(life)))], of_nobody()] for life in LIVES.values()]
    story: list[Event] = []
    while left := [each for each in left if each]:
        story.append(left[draw(st.integers(0, len(left) - 1))].pop(0))
    return story


@given(stories(), st.randoms(use_true_random=False), st.integers(0, 20))
def test_who_goes_on_at_another_edge_misses_nothing_and_sees_nothing_twice(
    story: list[Event], chance: random.Random, seen_count: int
) -> None:
    topics = Topics(*story)
    one, other = topics.read(chance), topics.read(chance)
    for who in (ALICE, BOB):
        seen = one.changes(who)[:seen_count]
        behind = {change.place: change.offset + 1 for change in seen}
        rest = [change for change in other.changes(who) if change.offset >= behind.get(change.place, 0)]
        told = [change.value for change in (*seen, *rest)]
        own = [event.to_bytes() for event in story if _owner(event) == who]
        assert sorted(told) == sorted(own)


def _owner(event: Event) -> str | None:
    return getattr(event, "contributor", None) or getattr(event, "recipient", None) or _held_by(event)


def _held_by(event: Event) -> str | None:
    payout = getattr(event, "payout", None)
    return next((who for who in (ALICE, BOB) for epoch in range(3) if ordered(who, epoch).payout == payout), None)
