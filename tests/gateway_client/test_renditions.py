"""What --rendition means."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millpond_cli.gateway.renditions import (
    RenditionInvalid,
    RenditionsInvalid,
    bitrate_kbps,
    enlarges,
    parse_renditions,
)

SIDES = st.integers(min_value=2, max_value=7_680)


def parse(text: str, width: int = 1280, height: int = 720):
    return parse_renditions([text], width=width, height=height, frames_per_s=30)[0]


@given(width=SIDES, height=SIDES, half=st.integers(min_value=8, max_value=1_080))
def test_the_shorter_side_is_as_asked_both_are_even_and_the_shape_is_kept(width: int, height: int, half: int) -> None:
    side = 2 * half
    assume(max(width, height) * side <= 7_679 * min(width, height))
    made = parse(f"{side}p", width, height)
    shorter, longer = sorted((made.width, made.height))
    assert shorter == side
    assert made.width % 2 == made.height % 2 == 0
    assert (made.width >= made.height) if width >= height else (made.height >= made.width)
    # Evenness moves the longer side by one pixel at most.
    assert abs(longer - max(width, height) * side / min(width, height)) <= 1


@pytest.mark.parametrize(
    ("text", "source", "size"),
    [
        ("240p", (1280, 720), (426, 240)),
        ("360p", (1280, 720), (640, 360)),
        ("480p", (1280, 720), (854, 480)),
        ("360p", (1080, 1920), (360, 640)),
        ("360p", (500, 500), (360, 360)),
        ("1080p", (640, 480), (1440, 1080)),
    ],
)
def test_sizes_that_are_known(text: str, source: tuple[int, int], size: tuple[int, int]) -> None:
    made = parse(text, *source)
    assert (made.width, made.height) == size
    assert made.name == text


def test_a_rendition_can_be_said_exactly() -> None:
    made = parse("small:640x360@800")
    assert (made.name, made.width, made.height, made.bitrate_kbps) == ("small", 640, 360, 800)


@given(width=SIDES, height=SIDES, frames_per_s=st.floats(min_value=0.1, max_value=90_000))
def test_a_larger_picture_has_more_bits_and_fewer_for_each_pixel(width: int, height: int, frames_per_s: float) -> None:
    small = bitrate_kbps(width=width, height=height, frames_per_s=frames_per_s)
    large = bitrate_kbps(width=2 * width, height=2 * height, frames_per_s=frames_per_s)
    assert 50 <= small <= large <= 100_000
    # Rounding and the least that is allowed may add a little.
    assert large <= 4 * small + 10


@pytest.mark.parametrize(("height", "least", "most"), [(240, 400, 600), (360, 800, 1_200), (720, 2_500, 3_200)])
def test_bitrates_are_usual_ones(height: int, least: int, most: int) -> None:
    assert least <= bitrate_kbps(width=height * 16 // 9, height=height, frames_per_s=30) <= most


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not understood"),
        ("360", "not understood"),
        ("-360p", "not understood"),
        ("361p", "take 360p or 362p"),
        ("8p", "height is 8"),
        ("9000p", "more than 7680"),
        ("small:641x360@800", "width is 641"),
        ("small:640x360@0", "bitrate_kbps is 0"),
        ("Small!:640x360@800", "name is 'Small!'"),
        ("small:640x360", "not understood"),
    ],
)
def test_what_is_wrong_is_named_with_the_remedy(text: str, says: str) -> None:
    with pytest.raises(RenditionInvalid, match="--rendition") as raised:
        parse(text)
    assert says in str(raised.value)
    assert "360p" in str(raised.value)


@given(st.text(max_size=30))
def test_any_text_is_a_rendition_or_a_refusal(text: str) -> None:
    with suppress(RenditionInvalid):
        assert parse(text).name


@pytest.mark.parametrize("texts", [[], ["360p", "360p"], [f"r{n}:64x64@100" for n in range(9)]])
def test_a_job_has_one_to_eight_renditions_with_different_names(texts: list[str]) -> None:
    with pytest.raises(RenditionsInvalid):
        parse_renditions(texts, width=1280, height=720, frames_per_s=30)


def test_a_rendition_larger_than_its_source_is_known() -> None:
    assert enlarges(parse("480p", 320, 240), width=320, height=240)
    assert not enlarges(parse("240p", 320, 240), width=320, height=240)
    assert not enlarges(parse("240p", 321, 240), width=321, height=240)
