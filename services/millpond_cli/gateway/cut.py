"""Cuts a source into segments that decode by themselves, one after the other, and never holds more than one in memory."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from math import ceil
from pathlib import Path

import av
from av.packet import Packet
from av.video.stream import VideoStream

from millpond.errors import MillpondError
from millpond.workloads.blob import BLOB_BYTES_MAX, Blob
from millpond_cli.gateway.reencode import NotDecoded, encoded_video
from millpond_cli.gateway.source import Source, open_media, packets_of, video_stream
from millpond_cli.gateway.timeline import choose_cuts, decode_stamps, reordering


class SegmentTooLarge(MillpondError):
    """Segment {index} of {path} has {size_bytes} bytes, and the pool takes {most}. Ask for shorter ones: --segment-s."""


class NotCut(MillpondError):
    """{path} can't be cut into {directory}: {cause}. See whether the disk has room, and the file plays to its end."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A file with video only. ``stamps``: when each frame is shown, in order, in ticks of the source's clock; the last
    is shown until ``end``."""

    index: int
    path: Path
    blob: Blob
    time_base: Fraction
    stamps: Sequence[int]
    end: int

    @property
    def frames(self) -> int:
        return len(self.stamps)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a source is cut. ``cuts``: frames of each segment if packets are copied; None if it's coded again, and
    ``segments`` is a guess."""

    segment_s: float
    cuts: tuple[int, ...] | None
    segments: int
    why: str | None


def plan_cuts(source: Source, segment_s: float, *, reencode: bool = False) -> Plan:
    """Copies packets if the source's key frames allow segments near ``segment_s``; ``reencode`` forbids it."""
    guess = max(1, ceil(source.duration_s / segment_s - 1e-6))
    if reencode or source.not_copied:
        return Plan(segment_s, None, guess, "it is asked for" if reencode else source.not_copied)
    wanted = float(segment_s / source.time_base)
    cuts = choose_cuts(source.groups, end=source.end, wanted=wanted, size_bytes_max=BLOB_BYTES_MAX * 9 // 10)
    if cuts is None:
        return Plan(segment_s, None, guess, f"its key frames allow no segments of about {segment_s:g} s")
    return Plan(segment_s, cuts, len(cuts), None)


def cut(source: Source, plan: Plan, directory: Path) -> Generator[Segment, None, None]:
    """Writes the segments into ``directory``, which exists. Raises ``NotDecoded``, ``NotCut``, ``SegmentTooLarge``."""
    try:
        with ExitStack() as opened:
            if plan.cuts is None:
                stream = opened.enter_context(encoded_video(source, plan.segment_s)).streams.video[0]
                starts = None
            else:
                stream = video_stream(opened.enter_context(open_media(source.path)), source.path)
                starts = {0, *accumulate(plan.cuts)}
            yield from _segments(stream, starts, source, directory)
    except av.FFmpegError as error:
        raise NotCut(path=source.path, directory=directory, cause=error) from error


def _segments(stream: VideoStream, starts: set[int] | None, source: Source, directory: Path) -> Iterator[Segment]:
    """One whenever a packet's number is among ``starts``, or at every key frame if there are none."""
    gathered: list[Packet[VideoStream]] = []
    index = 0
    for number, packet in enumerate(packets_of(stream)):
        if gathered and (packet.is_keyframe if starts is None else number in starts):
            assert packet.pts is not None
            yield _written(index, gathered, packet.pts, stream, source, directory)
            index, gathered = index + 1, []
        gathered.append(packet)
    if not gathered:
        raise NotDecoded(path=source.path, problem="no frame of it comes out")
    last = max(gathered, key=lambda packet: packet.pts or 0)
    yield _written(index, gathered, (last.pts or 0) + _duration(last, gathered), stream, source, directory)


def _written(
    index: int,
    packets: list[Packet[VideoStream]],
    end: int,
    stream: VideoStream,
    source: Source,
    directory: Path,
) -> Segment:
    time_base = stream.time_base
    assert time_base is not None
    coded = [packet.pts for packet in packets if packet.pts is not None]
    shown = sorted(coded)
    assert len(coded) == len(packets)
    assert shown[-1] < end
    path = directory / f"{index:05d}.mp4"
    _write(path, packets, shown, end, stream, time_base)
    size_bytes = path.stat().st_size
    if size_bytes > BLOB_BYTES_MAX:
        raise SegmentTooLarge(index=index, path=source.path, size_bytes=size_bytes, most=BLOB_BYTES_MAX)
    return Segment(index, path, blob_of(path), time_base, array("q", shown), end)


def _write(
    path: Path, packets: list[Packet[VideoStream]], shown: list[int], end: int, stream: VideoStream, time_base: Fraction
) -> None:
    """An MP4 of these packets whose first frame is shown at 0."""
    lasts = {stamp: following - stamp for stamp, following in pairwise([*shown, end])}
    ahead = reordering([packet.pts or 0 for packet in packets])
    frame = max(1, (end - shown[0]) // len(shown))
    options = {"video_track_timescale": str(time_base.denominator)}
    with av.open(f"file:{path}", "w", format="mp4", options=options) as container:
        written = container.add_stream_from_template(stream)
        written.time_base = time_base
        for packet, decoded in zip(packets, decode_stamps(shown, ahead, frame), strict=True):
            assert packet.pts is not None
            packet.duration = lasts[packet.pts]
            packet.pts, packet.dts = packet.pts - shown[0], decoded - shown[0]
            packet.time_base, packet.stream = time_base, written
            container.mux_one(packet)


def blob_of(path: Path) -> Blob:
    """What the file's bytes are known by."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(hash=f"0x{digest}", size_bytes=path.stat().st_size)


def _duration(last: Packet[VideoStream], gathered: list[Packet[VideoStream]]) -> int:
    """Of the source's last frame: what its packet says, or as long as the frames before it."""
    if last.duration:
        return last.duration
    stamps = sorted(packet.pts or 0 for packet in gathered)
    rate = last.stream.average_rate or 25
    usual = (stamps[-1] - stamps[0]) // (len(stamps) - 1) if len(stamps) > 1 else round(1 / (rate * last.time_base))
    return max(1, usual)
