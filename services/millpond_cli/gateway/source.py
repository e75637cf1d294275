"""What there is to know about a video before it is cut: found by reading it once, without decoding more than a frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from millpond.errors import MillpondError
from millpond_cli.gateway.timeline import Group

# What every runner's ffmpeg decodes, MP4 holds, and is stored as one packet for one frame.
COPIED_CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1"})
# Formats that show still pictures, or text as a picture.
STILL_FORMATS: Final = frozenset({"image2", "tty"})
# A still picture in an MP4's clothes says so here.
STILL_BRANDS: Final = frozenset({"avif", "heic", "heix", "mif1"})
USUAL_RATE: Final = 25


class NotAVideo(MillpondError):
    """{path} is no video: {problem}. Give a file with moving pictures, such as an .mp4, .mov, .mkv or .webm."""


@dataclass(frozen=True, slots=True)
class Audio:
    """The first sound of ``path``. ``start`` is when its first shown sample is heard, in seconds of the file's clock."""

    path: Path
    codec: str
    start: Fraction


@dataclass(frozen=True, slots=True)
class Source:
    """A video file. ``width`` and ``height`` are upright and in square pixels; stamps are ticks of ``time_base``.

    ``not_copied`` says why its packets can't be sent as they are; None if they can.
    """

    path: Path
    width: int
    height: int
    time_base: Fraction
    frames: int
    start: int
    end: int
    groups: tuple[Group, ...]
    not_copied: str | None
    audio: Audio | None

    @property
    def duration_s(self) -> float:
        return float((self.end - self.start) * self.time_base)

    @property
    def frames_per_s(self) -> float:
        return self.frames / self.duration_s


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """Opens a local file and nothing else: a playlist in it reaches no network. Raises ``NotAVideo``."""
    if not path.is_file():
        raise NotAVideo(path=path, problem="a folder" if path.is_dir() else "there is no such file")
    if not path.stat().st_size:
        raise NotAVideo(path=path, problem="the file is empty")
    try:
        # The prefix keeps a colon in a file's name from being read as a protocol.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except (av.FFmpegError, OSError) as error:
        raise NotAVideo(path=path, problem=f"it can't be read ({_cause(error)})") from error
    with container:
        yield container


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The moving picture in it. Raises ``NotAVideo``."""
    format_name = container.format.name
    still = format_name.endswith("_pipe") or format_name in STILL_FORMATS
    if still or container.metadata.get("major_brand", "").strip() in STILL_BRANDS:
        raise NotAVideo(path=path, problem=f"it has no moving picture (it reads as {format_name})")
    for stream in container.streams.video:
        if not stream.disposition & (av.stream.Disposition.attached_pic | av.stream.Disposition.still_image):
            return stream
    raise NotAVideo(path=path, problem="it has no moving picture")


def packets_of(stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Its packets, in decoding order, without the empty one at the end."""
    container = stream.container
    assert isinstance(container, InputContainer)
    return (packet for packet in container.demux(stream) if packet.size)


def probe(path: Path) -> Source:
    """Reads the whole file once. Raises ``NotAVideo``."""
    with open_media(path) as container:
        stream = video_stream(container, path)
        width, height, rotated = _picture(container, stream, path)
        audio = _audio(container, path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        time_base = stream.time_base or Fraction(1, USUAL_RATE)
        try:
            scan = _scan(packets_of(stream))
        except av.FFmpegError as error:
            raise NotAVideo(path=path, problem=f"it is damaged ({_cause(error)})") from error
        codec = stream.codec.canonical_name
        why = f"its codec is {codec}" if codec not in COPIED_CODECS else None
        why = why or ("it is stored lying on its side" if rotated else None) or scan.problem
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
    start, end = scan.bounds(round(1 / (rate * time_base)))
    return Source(path, width, height, time_base, scan.frames, start, end, tuple(scan.groups), why, audio)


def _picture(container: InputContainer, stream: VideoStream, path: Path) -> tuple[int, int, bool]:
    """Width, height and whether it is to be turned, from the first frame that decodes."""
    try:
        frame = next(container.decode(stream))
    except (StopIteration, av.FFmpegError) as error:
        raise NotAVideo(path=path, problem="none of its frames can be decoded") from error
    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
    width, height = max(1, round(frame.width * aspect)), frame.height
    if frame.rotation % 180:
        width, height = height, width
    return width, height, bool(frame.rotation % 360)


def _audio(container: InputContainer, path: Path) -> Audio | None:
    for stream in container.streams.audio:
        if stream.codec_context is not None and stream.time_base is not None:
            return Audio(path, stream.codec.canonical_name, (stream.start_time or 0) * stream.time_base)
    return None


class _Scan:
    """What the packets tell, group by group."""

    def __init__(self) -> None:
        self.frames = 0
        self.groups: list[Group] = []
        self.problem: str | None = None
        self.first: int | None = None
        self.last: int | None = None
        self.last_duration = 0

    def bounds(self, frame: int) -> tuple[int, int]:
        """First stamp, and the end of the last frame, which lasts ``frame`` ticks if nothing else is known."""
        if self.first is None or self.last is None:
            return 0, max(1, self.frames * frame)
        return self.first, self.last + (self.last_duration or max(1, frame))

    def close(self, packets: list[tuple[int, int, int]]) -> None:
        """Adds a group of (stamp, duration, bytes), in decoding order, the key frame first."""
        stamps = [stamp for stamp, _, _ in packets]
        start, last = stamps[0], max(stamps)
        closed = start == min(stamps) and (self.last is None or self.last < start)
        self.groups.append(Group(start, len(packets), sum(size for _, _, size in packets), closed))
        if len(set(stamps)) < len(stamps):
            self.problem = self.problem or "two frames have the same time"
        self.first = min(stamps) if self.first is None else min(self.first, *stamps)
        if self.last is None or last > self.last:
            self.last, self.last_duration = last, packets[stamps.index(last)][1]


def _scan(packets: Iterator[Packet[VideoStream]]) -> _Scan:
    scan = _Scan()
    group: list[tuple[int, int, int]] = []
    for packet in packets:
        scan.frames += 1
        if packet.pts is None or packet.is_corrupt or packet.is_discard:
            scan.problem = scan.problem or "not every frame is whole, shown and has a time"
            continue
        if packet.is_keyframe and group:
            scan.close(group)
            group = []
        elif not packet.is_keyframe and not group:
            scan.problem = scan.problem or "it doesn't start with a key frame"
        group.append((packet.pts, packet.duration or 0, packet.size))
    if group:
        scan.close(group)
    return scan


def _cause(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
