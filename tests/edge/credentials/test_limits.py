"""A bucket of tokens for each credential."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond_edge.credentials import limits as module
from millpond_edge.credentials.errors import RateExceeded
from millpond_edge.credentials.limits import RateLimits


class Hand:
    """A clock that is set by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_after_a_burst_one_is_told_how_long_to_wait_and_then_it_works() -> None:
    clock = Hand()
    limits = RateLimits(rate=0.25, burst=3, monotonic_s=clock)
    for _ in range(3):
        limits.take("a")
    with pytest.raises(RateExceeded) as refused:
        limits.take("a")
    assert refused.value.headers["retry-after"] == "4"
    clock.now_s += 4
    limits.take("a")


def test_one_credentials_haste_is_not_anothers() -> None:
    limits = RateLimits(rate=1, burst=1, monotonic_s=Hand())
    limits.take("a")
    limits.take("b")
    with pytest.raises(RateExceeded):
        limits.take("a")


def test_buckets_are_bounded_and_the_one_used_longest_ago_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUCKETS_MAX", 2)
    limits = RateLimits(rate=1, burst=1, monotonic_s=Hand())
    for name in ("a", "b", "c"):
        limits.take(name)
    limits.take("a")
    with pytest.raises(RateExceeded):
        limits.take("c")


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.floats(0.1, 50), st.integers(1, 20))
def test_never_more_than_the_burst_and_the_rate_allow(pauses: list[float], rate: float, burst: int) -> None:
    clock = Hand()
    limits, taken, began = RateLimits(rate=rate, burst=burst, monotonic_s=clock), 0, clock.now_s
    for pause in pauses:
        clock.now_s += pause
        try:
            limits.take("a")
        except RateExceeded:
            continue
        taken += 1
    assert taken <= burst + rate * (clock.now_s - began) + 1e-6
