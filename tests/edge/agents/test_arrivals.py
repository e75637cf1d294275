"""The number that Welcome tells is never ahead of what Kafka has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond_edge.agents.arrivals import Arrivals


@given(st.sets(st.integers(1, 60), max_size=20), st.randoms(use_true_random=False))
def test_nothing_up_to_it_is_missing_in_whatever_order_kafka_answers(sequences: set[int], chance: object) -> None:
    arrivals, settled = Arrivals(), set[int]()
    for sequence in sorted(sequences):
        arrivals.came(sequence)
    before = 0
    order = sorted(sequences)
    chance.shuffle(order)  # type: ignore[attr-defined]  # a Random
    for sequence in order:
        arrivals.settled(sequence)
        settled.add(sequence)
        up_to = arrivals.complete_up_to
        assert {each for each in sequences if each <= up_to} <= settled
        assert up_to >= before
        before = up_to
    assert arrivals.complete_up_to == max(sequences, default=0)


def test_what_is_never_settled_is_never_passed() -> None:
    arrivals = Arrivals()
    for sequence in (3, 5, 8):
        arrivals.came(sequence)
    for sequence in (8, 3):
        arrivals.settled(sequence)
    assert arrivals.complete_up_to == 4
    # Sent again, it is the same number.
    arrivals.came(5)
    arrivals.settled(5)
    assert arrivals.complete_up_to == 8
