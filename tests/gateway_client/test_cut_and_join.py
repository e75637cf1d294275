"""From a video of any kind to segments and back, with ffmpeg in place of the pool."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import pytest

from gateway_client.clips import audio_seconds, clip, ffmpeg, greys, shown_at, transcode
from millpond.workloads.transcode import Rendition
from millpond_cli.gateway.cut import NotCut, Plan, Segment, cut, plan_cuts
from millpond_cli.gateway.join import join, timeline
from millpond_cli.gateway.parts import Part, PartUnusable, check_part
from millpond_cli.gateway.renditions import parse_renditions
from millpond_cli.gateway.source import Source, probe

MakeClip = Callable[[Path], Path]


def rotated(path: Path) -> Path:
    lying = clip(path.with_name("lying.mp4"))
    ffmpeg("-display_rotation", 90, "-i", lying, "-c", "copy", path)
    return path


def variable_rate(path: Path) -> Path:
    # Every third frame, and all of the second second, are left out.
    gaps = "select='mod(n,3)*not(between(t,1,1.6))'"
    return clip(path, "-vf", gaps, "-fps_mode", "vfr")


def mid_group(path: Path) -> Path:
    """A recording of a broadcast: starts anywhere, its clock far from 0."""
    whole = clip(path.with_name("whole.ts"), "-output_ts_offset", 40_000, sound=True)
    packets = whole.read_bytes()
    path.write_bytes(packets[188 * 40 :])
    return path


# Name, how it is made, and whether its packets can be sent as they are.
KINDS: list[tuple[str, MakeClip, bool]] = [
    ("plain.mp4", lambda path: clip(path, sound=True), True),
    ("stream.ts", lambda path: clip(path, sound=True), True),
    ("matroska.mkv", lambda path: clip(path, sound=True), True),
    ("silent.mp4", clip, True),
    ("sixty.mp4", lambda path: clip(path, rate=60), True),
    ("ntsc.mp4", lambda path: clip(path, rate="30000/1001"), True),
    ("slow.mp4", lambda path: clip(path, rate=5), True),
    ("portrait.mp4", lambda path: clip(path, size="72x128"), True),
    ("one_frame.mp4", lambda path: clip(path, "-frames:v", 1), True),
    ("b_frames.mp4", lambda path: clip(path, "-preset", "veryfast", "-bf", 5), True),
    ("variable.mp4", variable_rate, True),
    ("variable.mkv", variable_rate, True),
    ("one_key.mp4", lambda path: clip(path, "-force_key_frames", "0", "-g", 1_000), False),
    ("open_gop.ts", lambda path: clip(path, "-x264-params", "open-gop=1:keyint=30:min-keyint=30", "-bf", 3), False),
    ("odd.webm", lambda path: clip(path, "-deadline", "realtime", size="127x71", codec="libvpx", sound=True), False),
    ("odd.mkv", lambda path: clip(path, "-pix_fmt", "yuv444p", size="127x71"), True),
    ("old.avi", lambda path: clip(path, codec="mpeg4", sound=True), False),
    ("pcm.mov", lambda path: clip(path, "-c:a", "pcm_s16le", sound=True), True),
    ("moving.gif", lambda path: clip(path, "-pix_fmt", "rgb8", codec="gif", seconds=1.5, rate=10), False),
    ("rotated.mp4", rotated, False),
    ("mid_group.ts", mid_group, False),
]


def through_ffmpeg(
    source: Source, plan: Plan, directory: Path, rendition: Rendition
) -> tuple[list[Segment], list[Part]]:
    """In place of the pool."""
    segments, parts = [], []
    for segment in cut(source, plan, directory):
        content = segment.path.read_bytes()
        assert segment.blob.hash == f"0x{hashlib.sha256(content).hexdigest()}"
        path = directory / f"{segment.index}.part"
        path.write_bytes(transcode(content, [rendition.model_dump()], segment.index)[rendition.name])
        segments.append(segment)
        parts.append(check_part(path, segment, rendition))
    return segments, parts


@pytest.mark.parametrize(("name", "make", "copied"), KINDS, ids=[name for name, _, _ in KINDS])
def test_any_video_comes_back_frame_by_frame(tmp_path: Path, name: str, make: MakeClip, copied: bool) -> None:
    video = make(tmp_path / name)
    source = probe(video)
    [rendition] = parse_renditions(["64p"], width=source.width, height=source.height, frames_per_s=source.frames_per_s)
    plan = plan_cuts(source, 1.0)
    assert (plan.cuts is not None) is copied, plan.why
    segments, parts = through_ffmpeg(source, plan, tmp_path, rendition)
    line = timeline(segments, source.audio)
    joined = tmp_path / "joined.mp4"
    audio = None if source.audio is None or source.audio.codec not in ("aac", "mp3") else source.audio
    join(parts, rendition, line, audio, joined)

    before, after = shown_at(video), shown_at(joined)
    # What stands before the first key frame of a broadcast decodes nowhere.
    assert len(after) == len(before) == sum(segment.frames for segment in segments)
    assert all(abs(was - is_) < 0.0011 for was, is_ in zip(before, after, strict=True))
    assert greys(joined) == pytest.approx(greys(video), abs=24)
    if audio is not None:
        assert audio_seconds(joined) == pytest.approx(audio_seconds(video), abs=0.06)
    seconds = [float((segment.end - segment.stamps[0]) * segment.time_base) for segment in segments]
    assert max(seconds) <= 2.0


@pytest.mark.parametrize("reencode", [False, True], ids=["copied", "coded again"])
@pytest.mark.parametrize("late", ["picture", "sound"])
def test_sound_and_picture_stay_together(tmp_path: Path, late: str, reencode: bool) -> None:
    plain = clip(tmp_path / "plain.ts", sound=True)
    video = tmp_path / "late.ts"
    first, second = ("0:a", "1:v") if late == "picture" else ("0:v", "1:a")
    ffmpeg("-i", plain, "-itsoffset", 0.7, "-i", plain, "-map", first, "-map", second, "-c", "copy", video)
    source = probe(video)
    [rendition] = parse_renditions(["64p"], width=128, height=72, frames_per_s=30)
    segments, parts = through_ffmpeg(source, plan_cuts(source, 1.0, reencode=reencode), tmp_path, rendition)
    joined = tmp_path / "joined.mp4"
    join(parts, rendition, timeline(segments, source.audio), source.audio, joined)
    assert abs(picture_behind_sound(video)) > 0.5
    assert picture_behind_sound(joined) == pytest.approx(picture_behind_sound(video), abs=0.002)


def picture_behind_sound(path: Path) -> float:
    """Seconds from the first sample that decodes to the first frame."""
    with av.open(str(path)) as container:
        heard = next(frame.time for frame in container.decode(audio=0))
    with av.open(str(path)) as container:
        return next(frame.time for frame in container.decode(video=0)) - heard


def test_a_rotated_video_comes_back_upright(tmp_path: Path) -> None:
    source = probe(rotated(tmp_path / "rotated.mp4"))
    assert (source.width, source.height) == (72, 128)
    [segment, *_] = cut(source, plan_cuts(source, 1.0), tmp_path)
    with av.open(str(segment.path)) as container:
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.rotation) == (72, 128, 0)


def test_every_segment_decodes_by_itself(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4", "-bf", 3))
    for segment in cut(source, plan_cuts(source, 1.0), tmp_path):
        with av.open(str(segment.path)) as container:
            assert len(list(container.decode(video=0))) == segment.frames


def test_segments_follow_each_other_without_a_gap(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4"))
    segments = list(cut(source, plan_cuts(source, 1.0), tmp_path))
    assert all(earlier.end == later.stamps[0] for earlier, later in pairwise(segments))
    assert (segments[0].stamps[0], segments[-1].end) == (source.start, source.end)


def test_cut_twice_the_segments_are_the_same_bytes(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4", "-force_key_frames", "0", "-g", 1_000))
    plan = plan_cuts(source, 1.0)
    assert plan.cuts is None
    runs = [[segment.blob for segment in cut(source, plan, tmp_path)] for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_long_video_is_cut_as_it_is_asked_for_and_not_before(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "long.mp4", "-g", 1_000, size="32x32", rate=5, seconds=600))
    assert source.frames == 3_000
    segments = cut(source, plan_cuts(source, 1.0, reencode=True), tmp_path)
    first = [next(segments) for _ in range(3)]
    assert [segment.frames for segment in first] == [5, 5, 5]
    assert len(list(tmp_path.glob("0*.mp4"))) == 3
    segments.close()


def kind_of(path: Path) -> str:
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.codec_tag


def test_a_joined_file_starts_with_its_index_and_is_stored_as_mp4_wants_it(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4"))
    [rendition] = parse_renditions(["64p"], width=128, height=72, frames_per_s=30)
    segments, parts = through_ffmpeg(source, plan_cuts(source, 1.0), tmp_path, rendition)
    assert len({part.ahead for part in parts}) > 1, "the encoders should differ, as those of two devices may"
    joined = tmp_path / "joined.mp4"
    join(parts, rendition, timeline(segments, None), None, joined)
    assert kind_of(joined) == "avc3", "the parameters stand in the stream"
    join(parts[:1], rendition, timeline(segments[:1], None), None, tmp_path / "one.mp4")
    assert kind_of(tmp_path / "one.mp4") == "avc1"
    content = joined.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(joined)) as container:
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            data, place = bytes(packet), 0
            while place < len(data):  # each unit behind its length, and not behind a start code
                place += 4 + int.from_bytes(data[place : place + 4])
            assert place == len(data)


def test_a_part_that_is_not_the_segment_is_refused(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4"))
    [rendition] = parse_renditions(["64p"], width=128, height=72, frames_per_s=30)
    segments, parts = through_ffmpeg(source, plan_cuts(source, 1.0), tmp_path, rendition)
    assert segments[0].frames != segments[-1].frames
    larger = rendition.model_copy(update={"width": 200})
    text = tmp_path / "text.part"
    text.write_text("#EXTM3U\n" * 20)
    sound = tmp_path / "sound.mp4"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", sound)
    other = clip(tmp_path / "other.mp4", "-vf", "scale=114:64", codec="mpeg4", seconds=1)
    for path, segment, wanted, says in (
        (parts[-1].path, segments[0], rendition, "15 of 30 frames"),
        (parts[0].path, segments[0], larger, "instead of 200x64"),
        (text, segments[0], rendition, "can't be read"),
        (sound, segments[0], rendition, "can't be read"),
        (other, segments[0], rendition, "mpeg4 instead of h264"),
    ):
        with pytest.raises(PartUnusable, match="Segment") as raised:
            check_part(path, segment, wanted)
        assert says in str(raised.value)


def test_no_room_on_the_disk_is_said(tmp_path: Path) -> None:
    source = probe(clip(tmp_path / "clip.mp4"))
    with pytest.raises(NotCut, match="room"):
        list(cut(source, plan_cuts(source, 1.0), tmp_path / "not" / "there"))
