"""A lost database: what rewards has published, and what it reads again, make the same state (STORIES 4.7)."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from millpond.events.rewards_epochs import EpochClosed, EpochClosing
from millpond.events.rewards_payouts import PayoutOrdered
from millpond_rewards.rules import LineFold, State
from rewards.story import (
    ANN,
    BEN,
    CAT,
    Story,
    close_command,
    commission,
    filled,
    line,
    planned,
    reconciled,
    terms,
    ticket,
    unexplained,
    watermarks,
)


def comparable(state: State) -> dict[str, object]:
    """What is the same in two states: trees and mappings by their content, offers by theirs."""

    def content(fold: LineFold) -> object:
        return fold.work, fold.tree.size, fold.tree.peaks

    ledger = {key: amount for key, amount in state.ledger.balances.items() if amount}
    plain = replace(state, lines=(), issued=())
    facts = {each.name: getattr(plain, each.name) for each in fields(plain)}
    return facts | {"lines": [content(fold) for fold in state.lines], "ledger": ledger}


def test_after_every_step_a_rebuilt_service_knows_the_same() -> None:
    story = Story().tell(terms(split=commission(100_000)))
    for step in steps(story):
        again = story.rebuilt()
        assert comparable(again.state) == comparable(story.state), step


def steps(story: Story):  # type: ignore[no-untyped-def]
    """A story with everything in it; after each step its name."""
    story.tell(line(ANN, 5, number=1), line(BEN, 7, number=2, held="odd"))
    yield "lines"
    story.close()
    yield "an epoch without income"
    story.tell(ticket(1_000, number=1), line(CAT, 11, number=3), ticket(7, number=9, finality="observed"))
    story.end_by_command().wait()
    yield "closing"
    for watermark, copy in watermarks(story.last(EpochClosing))[:30]:
        story.tell(watermark, partition=copy)
    yield "some watermarks"
    for watermark, copy in watermarks(story.last(EpochClosing))[30:]:
        story.tell(watermark, partition=copy)
    story.wait()
    yield "closed"
    story.wait(60)
    yield "ordered"
    plan = planned(0, story.all(PayoutOrdered))
    story.tell(plan)
    yield "planned"
    story.tell(*filled(plan, unpaid=[0]))
    yield "one paid, one not"
    story.tell(unexplained(60), ticket(500, number=2), line(CAT, 3, number=4))
    yield "unexplained"
    story.tell(reconciled(61)).close()
    story.tell(line(ANN, 3, number=5))
    yield "closed again"
    story.wait(60)
    second = planned(1, story.all(PayoutOrdered)[-2:])
    story.tell(second, *filled(second))
    yield "all paid"


def test_a_rebuilt_service_goes_on_as_the_first_would_have() -> None:
    story = Story().tell(terms(split=commission(100_000)))
    story.tell(line(ANN, 5, number=1), ticket(1_000, number=1)).close()
    again = story.rebuilt()
    for each in (story, again):
        each.wait(60)
        each.tell(line(BEN, 5, number=2), ticket(50, number=2)).close()
    assert [out.event for out in again.said] == [out.event for out in story.said]


def test_an_order_to_close_that_had_no_effect_yet_is_not_lost() -> None:
    story = Story().tell(terms())
    story.close()
    story.tell(close_command(1, 99), key="rewards")
    again = story.rebuilt().wait()
    assert again.state.phase == "closing"


@pytest.mark.parametrize("lost", ["terms", "lines"])
def test_what_is_compared_could_differ(lost: str) -> None:
    story = Story().tell(terms()).tell(line(ANN, 5, number=1))
    again = story.rebuilt()
    state = replace(again.state, offers=()) if lost == "terms" else replace(again.state, lines=State().lines)
    assert comparable(state) != comparable(story.state)
    assert not story.all(EpochClosed)
