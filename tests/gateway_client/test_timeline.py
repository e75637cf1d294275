"""Where a video may be cut, and the decoding stamps of what is joined."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millpond_cli.gateway.timeline import Group, choose_cuts, decode_stamps, reordering

LARGE = 10**12


def groups(*lengths: int, closed: bool = True) -> list[Group]:
    starts = [sum(lengths[:number]) for number in range(len(lengths))]
    return [Group(start, length, 1_000, closed or not start) for start, length in zip(starts, lengths, strict=True)]


def cuts(*lengths: int, wanted: float, size_bytes_max: int = LARGE) -> tuple[int, ...] | None:
    return choose_cuts(groups(*lengths), end=sum(lengths), wanted=wanted, size_bytes_max=size_bytes_max)


def test_key_frames_where_they_are_wanted_are_cut_at() -> None:
    assert cuts(30, 30, 30, wanted=30) == (30, 30, 30)


def test_short_groups_are_taken_together() -> None:
    assert cuts(*[12] * 10, wanted=30) == (36, 24, 36, 24) or sum(cuts(*[12] * 10, wanted=30) or ()) == 120


def test_groups_of_up_to_twice_the_length_are_taken_as_they_are() -> None:
    assert cuts(60, 60, 20, wanted=30) == (60, 60, 20)


def test_longer_groups_are_not_cut_by_copying() -> None:
    assert cuts(30, 61, 30, wanted=30) is None


def test_a_segment_too_large_for_a_blob_is_not_cut_by_copying() -> None:
    assert cuts(30, 30, wanted=30, size_bytes_max=999) is None


def test_an_open_group_is_no_place_to_cut() -> None:
    open_ones = groups(30, 30, 30, closed=False)
    assert choose_cuts(open_ones, end=90, wanted=30, size_bytes_max=LARGE) is None
    assert choose_cuts(open_ones, end=90, wanted=60, size_bytes_max=LARGE) == (90,)


@given(st.lists(st.integers(min_value=1, max_value=100), min_size=1, max_size=50), st.integers(1, 100))
def test_cuts_lose_no_frame_start_with_a_group_and_are_near(lengths: list[int], wanted: int) -> None:
    found = cuts(*lengths, wanted=wanted)
    if found is None:
        assert max(lengths) > wanted or len(lengths) > 1
        return
    assert sum(found) == sum(lengths)
    assert max(found) <= 2 * wanted
    starts = {sum(lengths[:number]) for number in range(len(lengths) + 1)}
    assert {sum(found[:number]) for number in range(len(found) + 1)} <= starts


@given(st.lists(st.integers(min_value=1, max_value=50), min_size=1, max_size=30), st.integers(1, 60))
def test_groups_no_longer_than_wanted_are_always_near_enough(lengths: list[int], wanted: int) -> None:
    if max(lengths) <= wanted:
        assert cuts(*lengths, wanted=wanted) is not None


def test_reordering_counts_what_b_frames_need() -> None:
    assert reordering([0, 1, 2, 3]) == 0
    assert reordering([0, 3, 1, 2, 6, 4, 5]) == 1
    assert reordering([0, 4, 2, 1, 3]) == 2


@given(st.lists(st.integers(-(10**6), 10**6), min_size=1, max_size=40, unique=True).flatmap(st.permutations))
def test_decoding_stamps_rise_and_none_is_after_its_frame_is_shown(coded: list[int]) -> None:
    made = list(decode_stamps(sorted(coded), reordering(coded), 7))
    assert len(made) == len(coded)
    assert all(earlier < later for earlier, later in pairwise(made))
    assert all(decoded <= shown for decoded, shown in zip(made, coded, strict=True))
