"""Where reading goes on, and when it must not."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.stream.position import STOP_SENTENCES, Extent, Position, StopReason, judge_number, judge_start
from millpond.stream.record import OutboxNumber

HASH = b"\x01" * 32
# Position 5 unless it says otherwise. Columns: position, where the batch starts, what the log holds, expires, again.
STARTS = {
    "the client began anew from further back": (5, 2, (0, 9), False, False, "seek"),
    "a batch from beyond is asked for a second time": (5, 7, (0, 9), False, False, "seek"),
    "nothing but control records lies between": (5, 7, (0, 9), False, True, "step_over"),
    "further back twice is still further back": (5, 2, (0, 9), False, True, "seek"),
    "the log ends before us": (5, 0, (0, 4), False, False, "lost_tail"),
    "the log ends before us, also if it expires": (5, 0, (0, 4), True, True, "lost_tail"),
    "the log ends where we are": (5, 5, (0, 5), False, False, "seek"),
    "what we never read has gone": (5, 7, (7, 9), False, False, "retention"),
    "what we never read has gone, also after a second look": (5, 7, (7, 9), False, True, "retention"),
    "what we never read has gone, also if that is the topic's way": (5, 7, (7, 9), True, True, "retention"),
    "a first start on a topic that keeps all": (0, 7, (7, 9), False, False, "retention"),
    "a first start on a topic that forgets": (0, 7, (7, 9), True, False, "step_over"),
    "a made again log that is empty": (5, 0, (0, 0), False, False, "lost_tail"),
}


@pytest.mark.parametrize("case", STARTS)
def test_what_to_do_with_a_batch_that_starts_elsewhere(case: str) -> None:
    position, batch_start, extent, expires, again, verdict = STARTS[case]
    place = Position(position, HASH if position else b"")
    assert judge_start(place, batch_start, Extent(*extent), expires=expires, again=again) == verdict


def test_only_a_first_start_may_begin_at_a_later_beginning() -> None:
    # At offset 0 with a last record: that record was a control record's neighbour or the log was made again.
    been_there = Position(0, HASH)
    assert judge_start(been_there, 7, Extent(7, 9), expires=True, again=False) == "retention"


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.booleans(), st.booleans())
def test_nothing_that_is_on_the_log_is_ever_stepped_over(
    position: int, batch_start: int, beginning: int, length: int, expires: bool, again: bool
) -> None:
    place, extent = Position(position, HASH), Extent(beginning, beginning + length)
    verdict = judge_start(place, batch_start, extent, expires=expires, again=again)
    if verdict == "step_over":
        assert again
        assert beginning <= position < batch_start


def test_every_reason_to_stop_comes_with_a_remedy() -> None:
    assert STOP_SENTENCES.keys() == set(get_args(StopReason))
    for sentence in STOP_SENTENCES.values():
        assert len(sentence) > 40


@st.composite
def relayed(draw: st.DrawFn) -> tuple[list[OutboxNumber], list[OutboxNumber]]:
    """A source's numbers in one partition, and what its relays make of them: each starts again somewhere before."""
    numbers = sorted(draw(st.sets(st.integers(1, 60), min_size=1, max_size=20)))
    true = [OutboxNumber("edge", n, p) for n, p in zip(numbers, [0, *numbers], strict=False)]
    sent: list[OutboxNumber] = []
    reached = 0
    while reached < len(true):
        start = draw(st.integers(0, reached))
        end = draw(st.integers(reached + 1, len(true)))
        sent += true[start:end]
        reached = max(reached, end)
    return true, sent


def applied(sent: list[OutboxNumber]) -> tuple[list[OutboxNumber], bool]:
    """What a reader applies until a gap, and whether there was one."""
    numbers: dict[str, int] = {}
    done = []
    for each in sent:
        verdict = judge_number(numbers, each)
        if verdict == "gap":
            return done, True
        if verdict == "apply":
            numbers[each.source] = each.number
            done.append(each)
    return done, False


@given(relayed())
def test_whatever_relays_repeat_everything_is_applied_once_and_in_order(
    story: tuple[list[OutboxNumber], list[OutboxNumber]],
) -> None:
    true, sent = story
    assert applied(sent) == (true, False)


@given(relayed(), st.data())
def test_any_hole_is_a_gap(story: tuple[list[OutboxNumber], list[OutboxNumber]], data: st.DataObject) -> None:
    true, sent = story
    lost = data.draw(st.sampled_from(true))
    done, gap = applied([each for each in sent if each != lost])
    assert done == true[: true.index(lost)]
    assert gap == (lost != true[-1])


@given(relayed(), relayed(), st.randoms(use_true_random=False))
def test_sources_do_not_disturb_each_other(one: tuple, two: tuple, random: object) -> None:
    renamed = [each._replace(source="chain") for each in two[1]]
    mixed: list[OutboxNumber] = []
    left, right = list(one[1]), renamed
    while left or right:
        take_left = bool(left) and (not right or random.random() < 0.5)  # type: ignore[attr-defined]
        mixed.append((left if take_left else right).pop(0))
    done, gap = applied(mixed)
    assert not gap
    assert [each for each in done if each.source == "edge"] == one[0]
    assert [each._replace(source="edge") for each in done if each.source == "chain"] == two[0]
