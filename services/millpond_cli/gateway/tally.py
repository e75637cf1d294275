"""How far a video is, folded from what is told on the way. Pure; the clock comes in."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from millpond_cli.gateway.progress import (
    CutEnded,
    Joined,
    Noted,
    PartFetched,
    Planned,
    SegmentMoved,
    SegmentState,
    SendEvent,
)


@dataclass(slots=True)
class Tally:
    """``segments``: the last of each; those that aren't cut yet are missing. ``segments_expected`` may be a guess."""

    planned: Planned | None = None
    segments: dict[int, SegmentMoved] = field(default_factory=dict)
    segments_expected: int = 0
    parts: Counter[str] = field(default_factory=Counter)
    received_bytes: Counter[str] = field(default_factory=Counter)
    joined: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def add(self, event: SendEvent) -> None:
        match event:
            case Planned():
                self.planned = event
                self.segments_expected = event.segments
            case SegmentMoved():
                self.segments[event.index] = event
                self.segments_expected = max(self.segments_expected, event.index + 1)
            case CutEnded():
                self.segments_expected = event.segments
            case PartFetched():
                self.parts[event.rendition] += 1
                self.received_bytes[event.rendition] += event.size_bytes
            case Joined():
                self.joined.add(event.rendition)
            case Noted():
                self.notes.append(event.sentence)

    def _segments(self) -> list[SegmentMoved]:
        # A copy at once: the view draws in a thread of its own while others are told.
        return list(self.segments.values())

    def in_state(self, state: SegmentState) -> int:
        return sum(segment.state is state for segment in self._segments())

    @property
    def retried(self) -> int:
        """Segments that were given to more than one device."""
        return sum(segment.attempts > 1 for segment in self._segments())

    @property
    def frames_done(self) -> int:
        return sum(segment.frames for segment in self._segments() if segment.state is SegmentState.DONE)

    def speed(self, elapsed_s: float) -> tuple[float, float]:
        """Frames a second that are done in all renditions, and how much faster than the video plays that is."""
        frames_per_s = self.frames_done / elapsed_s if elapsed_s > 0 else 0.0
        planned = self.planned
        if planned is None or not planned.frames:
            return frames_per_s, 0.0
        return frames_per_s, frames_per_s * planned.duration_s / planned.frames
