"""What is in a file of ours: found by reading it, not by believing whoever wrote it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import av

from millpond.errors import MillpondError


class OutputUnreadable(MillpondError):
    """the output {file} can't be read: {why}"""


@dataclass(frozen=True)
class Counted:
    """A file with one video. ``frames`` are its packets, since H.264 has one picture in each."""

    hash: str
    size_bytes: int
    width: int
    height: int
    frames: int


def count(path: Path) -> Counted:
    """Blocks as long as the file takes to read twice. Raises ``OutputUnreadable``."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with av.open(f"file:{path}", options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.video[0]
            # The last packet of a demuxer is an empty one.
            frames = sum(packet.size > 0 for packet in container.demux(stream))
            width, height = stream.width, stream.height
    except (OSError, IndexError, av.FFmpegError) as error:
        raise OutputUnreadable(file=path.name, why=getattr(error, "strerror", None) or error) from error
    return Counted(f"0x{digest}", path.stat().st_size, width, height, frames)
