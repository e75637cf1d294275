"""Where a video may be cut, and in which order its frames are decoded. Pure; times are ticks of the video's time base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

# A segment that is up to twice as long as wanted is still near: better than coding the source again.
LENGTH_MAX: Final = 2


@dataclass(frozen=True, slots=True)
class Group:
    """Frames from a key frame to the next. ``closed``: nothing in it, and nothing before, needs the other side."""

    start: int
    frames: int
    size_bytes: int
    closed: bool


def choose_cuts(groups: Sequence[Group], *, end: int, wanted: float, size_bytes_max: int) -> tuple[int, ...] | None:
    """How many frames each segment has, cut only where a closed group starts, as near ``wanted`` ticks as that allows.

    None if a segment would be longer than twice as wanted, or larger than ``size_bytes_max``.
    """
    assert groups
    if not groups[0].closed:
        return None
    starts = [number for number, group in enumerate(groups) if group.closed]
    cuts = [0]
    for number, following in pairwise([*starts[1:], None]):
        assert number is not None
        began = groups[cuts[-1]].start
        here = groups[number].start - began
        later = (groups[following].start if following is not None else end) - began
        # Cut here unless the next place is at least as near the wanted length.
        if abs(here - wanted) < abs(later - wanted) or here >= wanted:
            cuts.append(number)
    segments = [groups[start:stop] for start, stop in zip(cuts, [*cuts[1:], len(groups)], strict=True)]
    ends = [*(segment[0].start for segment in segments[1:]), end]
    longest = max(stop - segment[0].start for segment, stop in zip(segments, ends, strict=True))
    largest = max(sum(group.size_bytes for group in segment) for segment in segments)
    if longest > LENGTH_MAX * wanted or largest > size_bytes_max:
        return None
    return tuple(sum(group.frames for group in segment) for segment in segments)


def reordering(stamps: Sequence[int]) -> int:
    """By how many frames decoding must run ahead of showing, for presentation stamps in decoding order."""
    rank = {stamp: place for place, stamp in enumerate(sorted(stamps))}
    return max((place - rank[stamp] for place, stamp in enumerate(stamps)), default=0)


def decode_stamps(shown: Sequence[int], ahead: int, frame: int) -> Iterator[int]:
    """Decoding stamps for frames whose presentation stamps, in order, are ``shown``: strictly rising, none after its own.

    ``ahead`` is at least the ``reordering``; before the first frame the stamps go back by ``frame`` ticks each.
    """
    assert frame > 0
    for place in range(len(shown)):
        yield shown[place - ahead] if place >= ahead else shown[0] - (ahead - place) * frame
