"""A part: one segment in one rendition, as it came back from the pool, and whether it is what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import av
from av.bitstream import BitStreamFilterContext
from av.packet import Packet
from av.video.stream import VideoStream

from millpond.errors import MillpondError
from millpond.workloads.transcode import Rendition
from millpond_cli.gateway.cut import Segment
from millpond_cli.gateway.source import packets_of
from millpond_cli.gateway.timeline import reordering

# What was made elsewhere is opened as these and as nothing else, so that no playlist in it reads other files.
_OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,mpegts"}


class PartUnusable(MillpondError):
    """Segment {index} came back as {rendition} {problem}. Send the video again with another --id; if it stays so, its
    frames are damaged there: add --reencode."""


@dataclass(frozen=True, slots=True)
class Part:
    """A checked file. ``ahead``: how many frames decoding runs ahead of showing; ``header``: the decoder's parameters,
    each behind a start code (H.264 Annex B)."""

    path: Path
    ahead: int
    header: bytes


def check_part(path: Path, segment: Segment, rendition: Rendition) -> Part:
    """Demuxes it. Raises ``PartUnusable`` unless it is the segment, frame by frame, in the rendition's size."""

    def unusable(problem: str) -> PartUnusable:
        return PartUnusable(index=segment.index, rendition=rendition.name, problem=problem)

    try:
        with _opened(path) as stream:
            packets = [(packet.pts, packet.is_keyframe) for packet in packets_of(stream)]
            codec, size = stream.codec.canonical_name, (stream.width, stream.height)
            header = _annex_b(bytes(stream.codec_context.extradata or b""))
    except (av.FFmpegError, LookupError) as error:
        raise unusable(f"that can't be read ({error})") from error
    stamps = [stamp for stamp, _ in packets if stamp is not None]
    if codec != "h264":
        raise unusable(f"in {codec} instead of h264")
    if size != (rendition.width, rendition.height):
        raise unusable(f"of {size[0]}x{size[1]} instead of {rendition.width}x{rendition.height}")
    if len(packets) != segment.frames:
        raise unusable(f"with {len(packets)} of {segment.frames} frames")
    if len(set(stamps)) != len(packets):
        raise unusable("with frames that have no time, or the same as another")
    if not packets[0][1]:
        raise unusable("that doesn't start with a key frame")
    return Part(path, reordering(stamps), header)


@contextmanager
def part_packets(path: Path) -> Iterator[tuple[VideoStream, list[Packet[VideoStream]]]]:
    """A part's stream and all its packets, in Annex B, each key frame behind the parameters that decode it."""
    with _opened(path) as stream:
        annex_b = BitStreamFilterContext("h264_mp4toannexb", stream)
        packets = [made for packet in packets_of(stream) for made in annex_b.filter(packet)]
        yield stream, [*packets, *annex_b.filter(None)]


@contextmanager
def _opened(path: Path) -> Iterator[VideoStream]:
    with av.open(f"file:{path}", options=_OPTIONS) as container:
        yield container.streams.video[0]


def _annex_b(header: bytes) -> bytes:
    """The parameter sets of an MP4's ``avcC`` (ISO 14496-15, 5.3.3.1) as a stream carries them; a stream's own as they are."""
    if not header or header[0] != 1:
        return header
    sets: list[bytes] = []
    position = 5
    # How many sequence parameter sets, each behind its length; the same for picture parameter sets.
    for mask in (0x1F, 0xFF):
        count, position = header[position] & mask, position + 1
        for _ in range(count):
            length = int.from_bytes(header[position : position + 2])
            sets.append(b"\0\0\0\1" + header[position + 2 : position + 2 + length])
            position += 2 + length
    return b"".join(sets)
