"""The pool's own count of a result's outputs, from what the inspector saw of each. The size that counts is the job's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from millpond.events.device_claims import Output
from millpond.events.inspector_observations import OutputObserved, OutputUnavailable, OutputUnreadable
from millpond.events.metering_usage import UNITS_MAX
from millpond.workloads.transcode import Rendition, TranscodeSpec, pixels
from millpond_metering.rules.doubts import Doubt
from millpond_metering.rules.parts import Observation


@dataclass(frozen=True, slots=True)
class Recount:
    """``counted``: pixels that the job asked for and the pool saw."""

    counted: int
    doubts: tuple[Doubt, ...]


def recount(spec: TranscodeSpec, outputs: Sequence[Output], observations: Sequence[Observation]) -> Recount:
    """``observations`` stand in the order of ``outputs``. A rendition counts once, however often it is claimed."""
    wanted = {rendition.name: rendition for rendition in spec.renditions}
    doubts = list(_names_differ(spec, outputs))
    counted: dict[str, int] = {}
    for output, observed in zip(outputs, observations, strict=True):
        rendition = wanted.get(output.rendition)
        if rendition is None:
            continue
        seen, doubt = _weighed(output, rendition, observed)
        counted.setdefault(output.rendition, seen)
        doubts += [doubt] if doubt is not None else []
    return Recount(min(sum(counted.values()), UNITS_MAX), tuple(doubts))


def claimed_pixels(outputs: Sequence[Output]) -> int:
    return min(sum(output.pixels for output in outputs), UNITS_MAX)


def _names_differ(spec: TranscodeSpec, outputs: Sequence[Output]) -> Iterator[Doubt]:
    asked = sorted(rendition.name for rendition in spec.renditions)
    given = sorted(output.rendition for output in outputs)
    if asked != given:
        yield Doubt("outputs-differ", f"The job asks for {', '.join(asked)}; the result has {', '.join(given)}.")


def _weighed(output: Output, rendition: Rendition, observed: Observation) -> tuple[int, Doubt | None]:
    """What one output counts, and what is doubtful about it."""
    name = rendition.name
    match observed:
        case OutputUnavailable(sentence=sentence):
            return 0, Doubt("output-unavailable", f"{name}: {sentence}")
        case OutputUnreadable(sentence=sentence):
            return 0, Doubt("output-unreadable", f"{name}: {sentence}")
        case OutputObserved():
            pass
    width, height, frames = observed.width, observed.height, observed.frames
    if (width, height) != (rendition.width, rendition.height):
        asked = f"{rendition.width}x{rendition.height}"
        return 0, Doubt("size-differs", f"{name}: the job asks for {asked}, the output is {width}x{height}.")
    decoded = frames if observed.decoded_frames is None else min(frames, observed.decoded_frames)
    counted = pixels(width=width, height=height, frames=decoded)
    if decoded < frames:
        return counted, Doubt("decode-differs", f"{name}: of {frames:,} frames {decoded:,} can be decoded.")
    if (frames, counted) != (output.frames, output.pixels):
        claim = f"{output.pixels:,} pixels in {output.frames:,} frames"
        found = f"{counted:,} in {frames:,}"
        return counted, Doubt("count-differs", f"{name}: the device claimed {claim}, the pool counted {found}.")
    return counted, None
