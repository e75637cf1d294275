"""A split neither makes nor loses money, and nobody's place in the list matters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from millpond.money import commission, floor_share, split

WEIGHTS = st.lists(st.integers(min_value=0, max_value=2**80), min_size=1, max_size=40).filter(any)


@given(st.integers(min_value=0, max_value=2**256), WEIGHTS)
def test_a_split_neither_makes_nor_loses_money(amount: int, weights: list[int]) -> None:
    shares, carried = split(amount, weights)
    assert sum(shares) + carried == amount
    assert 0 <= carried < len(weights)
    assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)


@given(st.integers(min_value=0, max_value=2**256), WEIGHTS, st.randoms())
def test_the_order_of_the_weights_changes_nothing(amount: int, weights: list[int], random: object) -> None:
    shuffled = list(range(len(weights)))
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    shares, carried = split(amount, weights)
    again, carried_again = split(amount, [weights[n] for n in shuffled])
    assert again == [shares[n] for n in shuffled]
    assert carried_again == carried


@given(st.integers(min_value=0, max_value=2**200), WEIGHTS, st.integers(min_value=1, max_value=2**40))
def test_more_work_never_means_less_pay(amount: int, weights: list[int], more: int) -> None:
    before, _ = split(amount, weights)
    after, _ = split(amount, [weights[0] + more, *weights[1:]])
    assert after[0] >= before[0]


def test_a_wei_more_than_a_float_can_hold_is_not_lost() -> None:
    assert split(9_007_199_254_740_993, [1, 1]) == ([4_503_599_627_370_496] * 2, 1)
    assert floor_share(2**200 + 1, 1, 1) == 2**200 + 1


def test_the_commission_is_rounded_down() -> None:
    assert commission(1_000_003, 250_000) == 250_000
    assert commission(1_000_003, 0) == 0
    assert commission(1_000_003, 1_000_000) == 1_000_003
    assert commission(1, 999_999) == 0
