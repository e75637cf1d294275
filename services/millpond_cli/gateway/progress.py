"""What happens while a video is sent: told as it happens, for a view or a program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from millpond.workloads.transcode import Rendition


class SegmentState(StrEnum):
    """In the order of a segment's life; refused and given up are ``FAILED``."""

    CUT = "cut"
    SENT = "sent"
    ON_GPU = "on a GPU"
    TRANSCODED = "transcoded"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Planned:
    """``segments`` is a guess if ``reencoded`` says why the source has to be coded again first."""

    send_id: str
    video: Path
    frames: int
    duration_s: float
    segments: int
    renditions: tuple[Rendition, ...]
    reencoded: str | None


@dataclass(frozen=True, slots=True)
class Noted:
    """A sentence that the sender should see; nothing has failed."""

    sentence: str


@dataclass(frozen=True, slots=True)
class SegmentMoved:
    """``attempts``: how many devices have been given it so far. ``sentence``: the pool's, if it failed."""

    index: int
    frames: int
    state: SegmentState
    attempts: int = 0
    sentence: str | None = None


@dataclass(frozen=True, slots=True)
class CutEnded:
    """Now the number of segments is known."""

    segments: int


@dataclass(frozen=True, slots=True)
class PartFetched:
    index: int
    rendition: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Joined:
    rendition: str
    path: Path


SendEvent = Planned | Noted | SegmentMoved | CutEnded | PartFetched | Joined
OnEvent = Callable[[SendEvent], None]
