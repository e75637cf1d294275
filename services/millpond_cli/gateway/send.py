"""Sends a video through the pool: cut, upload, wait, fetch, join. Prints nothing; tells ``on_event``."""

from __future__ import annotations

import asyncio
import re
import shutil
import uuid
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from millpond.errors import MillpondError
from millpond.events.gateway_jobs import DEADLINE_S_MAX
from millpond.workloads.transcode import Rendition
from millpond_cli.gateway.client import EdgeClient, Job
from millpond_cli.gateway.cut import cut, plan_cuts
from millpond_cli.gateway.join import Timeline, join, timeline
from millpond_cli.gateway.parts import Part
from millpond_cli.gateway.passage import Order, Passage
from millpond_cli.gateway.progress import Joined, Noted, OnEvent, Planned
from millpond_cli.gateway.reencode import NotDecoded, encode_audio
from millpond_cli.gateway.renditions import enlarges, parse_renditions
from millpond_cli.gateway.source import Audio, Source, probe

SEGMENT_S: Final = 1.0
SEGMENT_S_MIN: Final = 0.2
SEGMENT_S_MAX: Final = 60.0
DEADLINE_S: Final = 120
IN_FLIGHT: Final = 8
IN_FLIGHT_MAX: Final = 256
# Part of the jobs' ids, and of a folder's name.
_SEND_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# What an MP4 can hold, and players play.
MP4_AUDIO: Final = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})


class SendInvalid(MillpondError):
    """{option} is {value!r}: {problem}."""


@dataclass(frozen=True, slots=True)
class SendResult:
    """``files``: one for each rendition's name. ``jobs``: as edge last told of them, in the segments' order."""

    send_id: str
    frames: int
    duration_s: float
    files: dict[str, Path]
    jobs: tuple[Job, ...]


async def send(
    video: Path,
    renditions: Sequence[str],
    client: EdgeClient,
    output: Path,
    on_event: OnEvent,
    *,
    send_id: str | None = None,
    segment_s: float = SEGMENT_S,
    deadline_s: int = DEADLINE_S,
    in_flight: int = IN_FLIGHT,
    reencode: bool = False,
) -> SendResult:
    """Puts ``<video>-<rendition>.mp4`` into ``output`` for each of ``renditions`` (as on the command line, ``360p``).

    Sent again under the same ``send_id`` after a crash, it goes on with the jobs there are. Raises ``MillpondError``
    (``NotAVideo``, ``RenditionInvalid``, ``EdgeAway``, ``SegmentsFailed`` …) and ``OSError`` of ``output``.
    """
    send_id = send_id or new_send_id()
    _check(send_id, segment_s, deadline_s, in_flight)
    source = await asyncio.to_thread(probe, video)
    size = {"width": source.width, "height": source.height}
    wanted = parse_renditions(renditions, **size, frames_per_s=source.frames_per_s)
    plan = plan_cuts(source, segment_s, reencode=reencode)
    on_event(Planned(send_id, video, source.frames, source.duration_s, plan.segments, wanted, plan.why))
    for each in wanted:
        if enlarges(each, **size):
            on_event(Noted(f"{each.name} is larger than the source's {source.width}x{source.height}: it is scaled up."))

    directory = output / f".millpond-send-{send_id}"
    directory.mkdir(parents=True, exist_ok=True)
    passage = Passage(client, Order(send_id, wanted, deadline_s, directory), on_event)
    with closing(cut(source, plan, directory)) as segments:
        done = await passage.run(segments, in_flight)
    audio = await asyncio.to_thread(_audio, source, directory, on_event)
    line = timeline([each.segment for each in done], audio)
    files = {}
    for number, rendition in enumerate(wanted):
        files[rendition.name] = output / f"{video.stem}-{rendition.name}.mp4"
        parts = [each.parts[number] for each in done]
        await asyncio.to_thread(_join, parts, rendition, line, audio, directory, files[rendition.name])
        on_event(Joined(rendition.name, files[rendition.name]))
    await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
    return SendResult(send_id, len(line.stamps), line.duration_s, files, tuple(each.job for each in done))


def new_send_id() -> str:
    """An id that no other send has."""
    return uuid.uuid4().hex[:12]


def _check(send_id: str, segment_s: float, deadline_s: int, in_flight: int) -> None:
    """Raises ``SendInvalid``."""
    if not _SEND_ID.fullmatch(send_id):
        raise SendInvalid(option="--id", value=send_id, problem="take up to 64 letters, digits, dots, hyphens or _")
    for option, value, least, most in (
        ("--segment-s", segment_s, SEGMENT_S_MIN, SEGMENT_S_MAX),
        ("--deadline-s", deadline_s, 1, DEADLINE_S_MAX),
        ("--in-flight", in_flight, 1, IN_FLIGHT_MAX),
    ):
        if not least <= value <= most:
            raise SendInvalid(option=option, value=value, problem=f"take {least:g} to {most:g}")


def _audio(source: Source, directory: Path, on_event: OnEvent) -> Audio | None:
    """The source's sound, or a copy in AAC if MP4 can't hold it as it is."""
    if source.audio is None or source.audio.codec in MP4_AUDIO:
        return source.audio
    path = directory / "sound.m4a"
    try:
        encode_audio(source.path, path)
    except NotDecoded as error:
        on_event(Noted(f"The renditions are silent. {error}"))
        return None
    return Audio(path, "aac", source.audio.start)


def _join(
    parts: Sequence[Part], rendition: Rendition, line: Timeline, audio: Audio | None, directory: Path, path: Path
) -> None:
    """In the file's place only once it is whole and verified."""
    unfinished = directory / f"{rendition.name}.joined.mp4"
    join(parts, rendition, line, audio, unfinished)
    unfinished.replace(path)
