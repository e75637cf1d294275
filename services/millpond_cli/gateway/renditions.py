"""What ``--rendition`` means for a source of a given size. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.workloads.transcode import BITRATE_KBPS_MAX, RENDITIONS_MAX, SIDE_PIXELS_MAX, Rendition

SIDE_PIXELS_MIN: Final = 16
BITRATE_KBPS_MIN: Final = 50
# Rates beyond it are a container's guess, not what anybody films with.
FRAMES_PER_S_MAX: Final = 120.0

_BY_SHORTER_SIDE: Final = re.compile(r"([1-9][0-9]{0,4})p")
_EXACT: Final = re.compile(r"(?P<name>[^:]+):(?P<width>[0-9]{1,6})x(?P<height>[0-9]{1,6})@(?P<kbps>[0-9]{1,7})")


class RenditionInvalid(MillpondError):
    """--rendition {text!r}: {problem}. Write a height such as 360p, or name:WIDTHxHEIGHT@KBPS such as small:640x360@800."""


class RenditionsInvalid(MillpondError):
    """{count} renditions: {problem}."""


def parse_renditions(texts: Sequence[str], *, width: int, height: int, frames_per_s: float) -> tuple[Rendition, ...]:
    """The renditions of a source of this size (upright, square pixels). Raises ``RenditionInvalid``, ``RenditionsInvalid``."""
    if not 1 <= len(texts) <= RENDITIONS_MAX:
        raise RenditionsInvalid(count=len(texts), problem=f"a job has 1 to {RENDITIONS_MAX}; give as many --rendition")
    renditions = tuple(_parse(text, width, height, frames_per_s) for text in texts)
    names = [each.name for each in renditions]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RenditionsInvalid(count=len(texts), problem=f"{', '.join(twice)} is there twice; give each its own name")
    return renditions


def enlarges(rendition: Rendition, *, width: int, height: int) -> bool:
    """Whether a side becomes longer than the source's. One pixel more may come from evenness."""
    return rendition.width > width + 1 or rendition.height > height + 1


def bitrate_kbps(*, width: int, height: int, frames_per_s: float) -> int:
    """What x264 needs for a good picture: about 1,000 for 360p at 30 frames a second, 2,800 for 720p, 5,100 for 1080p.

    The power is below one, since neighbouring pixels of a large picture tell less that is new.
    """
    pixels_per_s = width * height * min(frames_per_s, FRAMES_PER_S_MAX)
    kbps = round(0.00735 * math.pow(pixels_per_s, 0.75) / 10) * 10
    return max(BITRATE_KBPS_MIN, min(kbps, BITRATE_KBPS_MAX))


def _parse(text: str, width: int, height: int, frames_per_s: float) -> Rendition:
    if match := _BY_SHORTER_SIDE.fullmatch(text):
        return _by_shorter_side(text, int(match[1]), width, height, frames_per_s)
    if match := _EXACT.fullmatch(text):
        return _made(text, match["name"], int(match["width"]), int(match["height"]), int(match["kbps"]))
    raise RenditionInvalid(text=text, problem="not understood")


def _by_shorter_side(text: str, side: int, width: int, height: int, frames_per_s: float) -> Rendition:
    if side % 2:
        raise RenditionInvalid(text=text, problem=f"both sides must be even: take {side - 1}p or {side + 1}p")
    longer = _even(max(width, height) * side / min(width, height))
    if longer > SIDE_PIXELS_MAX:
        problem = f"the source is {width}x{height}, so the longer side would be {longer}, more than {SIDE_PIXELS_MAX}"
        raise RenditionInvalid(text=text, problem=problem)
    sides = (longer, side) if width >= height else (side, longer)
    return _made(text, text, *sides, bitrate_kbps(width=sides[0], height=sides[1], frames_per_s=frames_per_s))


def _made(text: str, name: str, width: int, height: int, kbps: int) -> Rendition:
    try:
        return Rendition(name=name, width=width, height=height, bitrate_kbps=kbps)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{first['loc'][0]} is {first['input']!r}: {first['msg'].lower()}"
        raise RenditionInvalid(text=text, problem=problem) from None


def _even(length: float) -> int:
    return max(SIDE_PIXELS_MIN, 2 * round(length / 2))
