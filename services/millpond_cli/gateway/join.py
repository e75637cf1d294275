"""Joins the parts of a rendition into one MP4 with the source's times and sound, a packet at a time."""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from math import floor
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from millpond.errors import MillpondError
from millpond.workloads.transcode import Rendition
from millpond_cli.gateway.cut import Segment
from millpond_cli.gateway.parts import Part, part_packets
from millpond_cli.gateway.source import Audio, open_media
from millpond_cli.gateway.timeline import decode_stamps

Coded: TypeAlias = "Packet[VideoStream] | Packet[AudioStream]"


class JoinedWrong(MillpondError):
    """{path} has {found}, and not {wanted} as the source. Nothing was put in its place; send the video again with
    another --id."""


class NotJoined(MillpondError):
    """{path} can't be written: {cause}. See whether the disk has room, and send again with the same --id."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """When every frame of the video is shown, in ticks of the source's clock, and when the last one ends.

    ``origin``: what becomes 0 in the joined file, in ticks: the first that is seen or heard.
    """

    time_base: Fraction
    stamps: Sequence[int]
    end: int
    origin: int

    @property
    def duration_s(self) -> float:
        return float((self.end - self.stamps[0]) * self.time_base)


def timeline(segments: Sequence[Segment], audio: Audio | None) -> Timeline:
    """The segments' frames one behind the other, and the sound beside them."""
    time_base = segments[0].time_base
    stamps = array("q", chain.from_iterable(segment.stamps for segment in segments))
    heard = floor(audio.start / time_base) if audio else stamps[0]
    return Timeline(time_base, stamps, segments[-1].end, min(stamps[0], heard))


def join(parts: Sequence[Part], rendition: Rendition, line: Timeline, audio: Audio | None, path: Path) -> None:
    """Writes ``path`` and reads it again. Raises ``JoinedWrong``, ``NotJoined``."""
    try:
        _write(parts, line, audio, path)
    except av.FFmpegError as error:
        raise NotJoined(path=path, cause=error) from error
    _verify(path, rendition, line)


def _write(parts: Sequence[Part], line: Timeline, audio: Audio | None, path: Path) -> None:
    timescale = {"movflags": "+faststart", "video_track_timescale": str(line.time_base.denominator)}
    with ExitStack() as opened:
        container = opened.enter_context(av.open(f"file:{path}", "w", format="mp4", options=timescale))
        template, _ = opened.enter_context(part_packets(parts[0].path))
        video = container.add_stream_from_template(template)
        video.time_base = line.time_base
        # As the packets are: MP4's muxer turns both into its own form.
        video.codec_context.extradata = parts[0].header
        # Parts from different encoders bring different parameters: then the file says that they stand in the stream.
        video.codec_context.codec_tag = "avc1" if len({part.header for part in parts}) == 1 else "avc3"
        tracks: list[Iterator[Coded]] = [_video(parts, line, video)]
        if audio is not None:
            heard = opened.enter_context(open_media(audio.path)).streams.audio[0]
            tracks.append(_audio(heard, line.origin * line.time_base, _added(container, heard)))
        for packet in heapq.merge(*tracks, key=_when):
            container.mux_one(packet)


def _added(container: OutputContainer, heard: AudioStream) -> AudioStream:
    added = container.add_stream_from_template(heard)
    assert heard.time_base is not None
    added.time_base = heard.time_base
    return added


def _video(parts: Sequence[Part], line: Timeline, video: VideoStream) -> Iterator[Coded]:
    """The parts' packets in decoding order; the n-th to be shown gets the source's n-th stamp."""
    frame = max(1, (line.end - line.stamps[0]) // len(line.stamps))
    decoded = decode_stamps(line.stamps, max(part.ahead for part in parts), frame)
    first = 0
    for part in parts:
        with part_packets(part.path) as (_, packets):
            rank = {stamp: place for place, stamp in enumerate(sorted(packet.pts or 0 for packet in packets))}
            for packet in packets:
                place = first + rank[packet.pts or 0]
                following = line.stamps[place + 1] if place + 1 < len(line.stamps) else line.end
                packet.duration = following - line.stamps[place]
                packet.pts, packet.dts = line.stamps[place] - line.origin, next(decoded) - line.origin
                packet.time_base, packet.stream = line.time_base, video
                yield packet
            first += len(packets)


def _audio(heard: AudioStream, origin_s: Fraction, added: AudioStream) -> Iterator[Coded]:
    """The sound's packets as they are; one that goes back in time, as after a hole in a recording, is left out."""
    time_base = heard.time_base
    assert time_base is not None
    shift, before = round(origin_s / time_base), None
    container = heard.container
    assert isinstance(container, av.container.InputContainer)
    for packet in container.demux(heard):
        if not packet.size or packet.pts is None or (before is not None and packet.pts <= before):
            continue
        before = packet.pts
        packet.pts = packet.dts = packet.pts - shift
        packet.time_base, packet.stream = time_base, added
        yield packet


def _when(packet: Coded) -> Fraction:
    assert packet.dts is not None
    return packet.dts * packet.time_base


def _verify(path: Path, rendition: Rendition, line: Timeline) -> None:
    """As many frames as the source, of the rendition's size, and as long, within a frame."""
    with open_media(path) as container:
        stream = container.streams.video[0]
        size = (stream.width, stream.height)
        stamps = [packet.pts for packet in container.demux(stream) if packet.size and packet.pts is not None]
        time_base = stream.time_base or line.time_base
    longest = max(following - stamp for stamp, following in pairwise([*line.stamps, line.end]))
    spans = [
        float((max(all_) - min(all_)) * base) for all_, base in ((stamps, time_base), (line.stamps, line.time_base))
    ]
    wrong = (
        (len(stamps) != len(line.stamps), f"{len(stamps)} frames", f"{len(line.stamps)}"),
        (size != (rendition.width, rendition.height), f"{size[0]}x{size[1]}", f"{rendition.width}x{rendition.height}"),
        (abs(spans[0] - spans[1]) > longest * line.time_base, f"{spans[0]:.3f} s", f"{spans[1]:.3f} s"),
    )
    for is_wrong, found, wanted in wrong:
        if is_wrong:
            raise JoinedWrong(path=path, found=found, wanted=wanted)
