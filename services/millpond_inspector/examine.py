"""What is in a video file: opened by name of format, from one open file, its packets counted. Runs in the sandbox only.

Imports nothing of Millpond: the less there is beside hostile bytes, the better.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Final

import av

TS_PACKET_BYTES: Final = 188
TS_SYNC: Final = b"\x47"
# What the pool's renditions may be coded in. Raw formats would let a header of a few bytes claim any number of frames.
CODECS: Final = frozenset({"h264", "hevc", "vp9", "av1"})

Facts = dict[str, Any]


class Unreadable(Exception):
    """No video that could be counted: a reason for programs, a sentence for the contributor."""

    def __init__(self, reason: str, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence


def examine(file: BinaryIO, *, decode: bool, side_max: int) -> Facts:
    """Width, height, frames (packets of the one video stream) and more; ``decode``: how many frames of that size decode.

    The same bytes give the same facts. Raises ``Unreadable``, and whatever a limit of the process makes it raise.
    """
    size_bytes = os.fstat(file.fileno()).st_size
    name = _format_of(file)
    facts = _demuxed(file, name, size_bytes, side_max)
    if decode:
        file.seek(0)
        facts["decoded_frames"] = _decoded(file, name, facts["width"], facts["height"])
    return facts


def _format_of(file: BinaryIO) -> str:
    """By its first bytes, among two: no format that names other files (playlists, concat) is ever tried."""
    head = file.read(TS_PACKET_BYTES + 1)
    file.seek(0)
    if head[:1] == TS_SYNC and head[TS_PACKET_BYTES:] in (TS_SYNC, b""):
        return "mpegts"
    if head[4:8] in (b"ftyp", b"styp", b"moov", b"moof"):
        return "mp4"
    raise Unreadable("unknown-format", "It is neither an MPEG transport stream nor an MP4 file.")


def _demuxed(file: BinaryIO, name: str, size_bytes: int, side_max: int) -> Facts:
    try:
        with av.open(file, "r", format=name) as container:
            stream = _only_video(container)
            frames = packet_bytes = 0
            for packet in container.demux(stream):
                frames += packet.size > 0
                packet_bytes += packet.size
            # After the packets: parameters may stand in the first of them.
            width, height, codec = stream.width, stream.height, stream.codec_context.name
            duration_ms = _milliseconds(stream)
    except av.FFmpegError as error:
        raise _broken(error) from error
    if codec not in CODECS:
        raise Unreadable("unknown-codec", f"It is coded as {codec}; the pool takes {', '.join(sorted(CODECS))}.")
    if not frames or not width or not height:
        raise Unreadable("no-frames", "It has a video stream, and nothing in it.")
    if max(width, height) > side_max:
        raise Unreadable("too-large", f"Its frames are {width}x{height}; the pool takes sides up to {side_max}.")
    if packet_bytes > size_bytes:
        # An index can name the same bytes as many frames as it likes.
        raise Unreadable("frames-overlap", f"Its frames have {packet_bytes} bytes together, and the file {size_bytes}.")
    return {"width": width, "height": height, "frames": frames, "duration_ms": duration_ms, "codec": codec}


def _only_video(container: Any) -> Any:
    streams = container.streams.video
    if len(streams) != 1:
        raise Unreadable("no-single-video", f"It has {len(streams)} video streams; a rendition has one.")
    return streams[0]


def _milliseconds(stream: Any) -> int | None:
    if stream.duration is None or stream.time_base is None or stream.duration < 0:
        return None
    return int(stream.duration * stream.time_base * 1000)


def _decoded(file: BinaryIO, name: str, width: int, height: int) -> int:
    """How many frames decode, in the size that was counted: a stream that shrinks on the way is no full one."""
    decoded = 0
    try:
        with av.open(file, "r", format=name) as container:
            stream = _only_video(container)
            # No threads: the process may not have any.
            stream.thread_type = "NONE"
            stream.codec_context.thread_count = 1
            for frame in container.decode(stream):
                decoded += (frame.width, frame.height) == (width, height) and not frame.is_corrupt
    except av.FFmpegError as error:
        if isinstance(error, MemoryError):
            raise
    return decoded


def _broken(error: av.FFmpegError) -> Exception:
    if isinstance(error, MemoryError):
        return MemoryError()
    return Unreadable("broken", f"It can't be read as a video: {error.strerror or 'its structure is broken'}.")
