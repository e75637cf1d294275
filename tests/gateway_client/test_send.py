"""A video from end to end, through an edge that fails in every way it may."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway_client.clips import audio_seconds, clip, greys, shown_at, transcode
from gateway_client.edge_double import API_KEY, EdgeDouble, edge_double
from millpond_cli.gateway.client import BlobDamaged, EdgeAway, EdgeClient, EdgeRefused
from millpond_cli.gateway.passage import SegmentsFailed
from millpond_cli.gateway.progress import CutEnded, Joined, Noted, Planned, SegmentMoved, SegmentState, SendEvent
from millpond_cli.gateway.send import SendInvalid, SendResult, send

SIZES = ["64p", "small:32x18@50"]


def left_in(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


def assert_whole(video: Path, result: SendResult, output: Path) -> None:
    """Every rendition is the video, and nothing else is left in the folder."""
    assert {path.name for path in output.iterdir()} == {f"{video.stem}-64p.mp4", f"{video.stem}-small.mp4"}
    for path in result.files.values():
        assert shown_at(path) == shown_at(video)
        assert greys(path) == pytest.approx(greys(video), abs=24)
    assert result.frames == len(greys(video))


async def test_a_video_goes_out_in_segments_and_comes_back_in_renditions(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    told: list[SendEvent] = []
    result = await send(video, SIZES, client, tmp_path, told.append, send_id="holiday")
    assert_whole(video, result, tmp_path)
    assert (result.frames, result.duration_s, result.send_id) == (75, 2.5, "holiday")
    assert [job.id for job in result.jobs] == ["holiday.00000", "holiday.00001", "holiday.00002"]
    assert audio_seconds(result.files["64p"]) == pytest.approx(2.5, abs=0.05)
    assert edge.posts == {job.id: 1 for job in result.jobs}

    [planned] = [event for event in told if isinstance(event, Planned)]
    assert (planned.frames, planned.segments, planned.reencoded) == (75, 3, None)
    assert CutEnded(3) in told
    assert [event.rendition for event in told if isinstance(event, Joined)] == ["64p", "small"]
    for index in range(3):
        states = [event.state for event in told if isinstance(event, SegmentMoved) and event.index == index]
        assert states == sorted(states, key=list(SegmentState).index), "a segment never goes back"
        assert (states[0], states[-1]) == (SegmentState.CUT, SegmentState.DONE)
    assert not [event for event in told if isinstance(event, Noted)]


async def test_every_fault_that_passes_is_survived(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    edge.faults.answers_503 = 3
    edge.faults.broken_downloads = 3
    edge.faults.broken_streams = 3
    edge.faults.events_repeated = True
    edge.faults.attempts[1] = 3
    told: list[SendEvent] = []
    result = await send(video, SIZES, client, tmp_path, told.append)
    assert_whole(video, result, tmp_path)
    assert len(edge.jobs) == 3
    assert [job.attempts for job in result.jobs] == [1, 3, 1]
    assert edge.faults.broken_streams == edge.faults.broken_downloads == 0
    # After a break it goes on from where it was.
    assert [cursor for cursor in edge.cursors if cursor is not None]
    assert any(isinstance(event, Noted) and "broke" in event.sentence for event in told)


async def test_events_that_never_come_are_made_up_for_by_asking(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    edge.faults.stream_mute = True
    over = asyncio.Event()

    async def breaking() -> None:
        while not over.is_set():
            await asyncio.sleep(0.3)
            await edge.stop()
            await edge.start()

    restarting = asyncio.create_task(breaking())
    try:
        async with asyncio.timeout(30):
            result = await send(video, SIZES, client, tmp_path, lambda event: None)
    finally:
        over.set()
        await restarting
    assert_whole(video, result, tmp_path)
    assert len(edge.jobs) == 3


async def test_sent_again_with_the_same_id_it_goes_on_and_doubles_nothing(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    class Crash(Exception):
        pass

    def crash(event: SendEvent) -> None:
        if isinstance(event, SegmentMoved) and event.state is SegmentState.DONE:
            raise Crash

    with pytest.raises(Crash):
        await send(video, SIZES, client, tmp_path, crash, send_id="again")
    fetched = {path: path.stat().st_mtime_ns for path in left_in(tmp_path, ".millpond-send-again/*.part")}
    assert len(fetched) >= 2, "what came back is kept"
    kept: list[dict[Path, int]] = []

    def look(event: SendEvent) -> None:
        if isinstance(event, Joined):
            kept.append({path: path.stat().st_mtime_ns for path in fetched})

    result = await send(video, SIZES, client, tmp_path, look, send_id="again")
    assert_whole(video, result, tmp_path)
    assert len(edge.jobs) == 3
    assert kept == [fetched, fetched], "and not fetched again"


async def test_no_more_segments_are_under_way_than_asked_for(
    edge: EdgeDouble, client: EdgeClient, tmp_path: Path
) -> None:
    video = clip(tmp_path / "ten.mp4", seconds=10, rate=10)
    output = tmp_path / "output"
    waiting_most = 0

    def look(event: SendEvent) -> None:
        nonlocal waiting_most
        waiting_most = max(waiting_most, len(list(output.glob(".millpond-send-*/[0-9]*.mp4"))))

    result = await send(video, ["64p"], client, output, look, in_flight=2)
    assert len(result.jobs) == 10
    assert edge.in_flight_most <= 2
    assert waiting_most <= 2


@pytest.mark.parametrize(
    ("end", "says"), [("refused", "balance is used up"), ("given_up", "Three devices failed at it")]
)
async def test_a_job_that_comes_to_nothing_is_shown_with_the_pools_sentence(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path, end: str, says: str
) -> None:
    edge.faults.ends[1] = end
    told: list[SendEvent] = []
    with pytest.raises(SegmentsFailed, match=says) as raised:
        await send(video, SIZES, client, tmp_path, told.append)
    assert "segment 1:" in str(raised.value)
    failed = [event for event in told if isinstance(event, SegmentMoved) and event.state is SegmentState.FAILED]
    assert [event.index for event in failed] == [1]
    assert says in str(failed[0].sentence)
    assert not left_in(tmp_path, "*.mp4")


async def test_after_a_failure_no_more_are_sent(edge: EdgeDouble, client: EdgeClient, tmp_path: Path) -> None:
    video = clip(tmp_path / "ten.mp4", seconds=10, rate=10)
    edge.faults.ends[0] = "refused"
    with pytest.raises(SegmentsFailed):
        await send(video, ["64p"], client, tmp_path / "output", lambda event: None, in_flight=1)
    assert len(edge.jobs) == 1


async def test_a_part_that_is_not_the_segment_is_not_joined(video: Path, tmp_path: Path) -> None:
    def cheating(segment: bytes, renditions: list[dict[str, Any]], number: int) -> dict[str, bytes]:
        return transcode(segment, [{**each, "width": 16, "height": 16} for each in renditions], number)

    async with edge_double(cheating) as edge, EdgeClient.open(edge.url, API_KEY) as client:
        with pytest.raises(SegmentsFailed, match="of 16x16 instead of 114x64"):
            await send(video, SIZES, client, tmp_path, lambda event: None)
    assert not left_in(tmp_path, "*.mp4")


async def test_a_rendition_that_is_missing_is_said(video: Path, tmp_path: Path) -> None:
    def lazy(segment: bytes, renditions: list[dict[str, Any]], number: int) -> dict[str, bytes]:
        return transcode(segment, renditions[:1], number)

    async with edge_double(lazy) as edge, EdgeClient.open(edge.url, API_KEY) as client:
        with pytest.raises(SegmentsFailed, match="small not at all"):
            await send(video, SIZES, client, tmp_path, lambda event: None)


async def test_damaged_bytes_stop_the_send(edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path) -> None:
    edge.faults.outputs_changed = True
    with pytest.raises(BlobDamaged):
        await send(video, SIZES, client, tmp_path, lambda event: None)
    assert not left_in(tmp_path, "*.mp4")


async def test_an_edge_that_refuses_or_is_away_stops_the_send(edge: EdgeDouble, video: Path, tmp_path: Path) -> None:
    async with EdgeClient.open(edge.url, "mpk_other_" + "x" * 43) as stranger:
        with pytest.raises(EdgeRefused, match="not known"):
            await send(video, SIZES, stranger, tmp_path, lambda event: None)
    async with EdgeClient.open("http://127.0.0.1:9", API_KEY, patience_s=0.3) as nowhere:
        with pytest.raises(EdgeAway):
            await send(video, SIZES, nowhere, tmp_path, lambda event: None)


async def test_a_larger_rendition_is_made_and_said(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    told: list[SendEvent] = []
    await send(video, ["144p"], client, tmp_path, told.append)
    [note] = [event.sentence for event in told if isinstance(event, Noted)]
    assert note == "144p is larger than the source's 128x72: it is scaled up."


async def test_sound_that_mp4_can_not_hold_is_coded_again(edge: EdgeDouble, client: EdgeClient, tmp_path: Path) -> None:
    video = clip(tmp_path / "pcm.mov", "-c:a", "pcm_s16le", sound=True)
    result = await send(video, ["64p"], client, tmp_path / "output", lambda event: None)
    assert audio_seconds(result.files["64p"]) == pytest.approx(2.5, abs=0.1)
    assert greys(result.files["64p"]) == pytest.approx(greys(video), abs=24)


async def test_a_source_without_key_frames_goes_through(edge: EdgeDouble, client: EdgeClient, tmp_path: Path) -> None:
    video = clip(tmp_path / "one_key.mp4", "-force_key_frames", "0", "-g", 1_000, sound=True)
    told: list[SendEvent] = []
    result = await send(video, ["64p"], client, tmp_path / "output", told.append)
    assert len(result.jobs) == 3
    assert greys(result.files["64p"]) == pytest.approx(greys(video), abs=24)
    assert "key frames" in str(next(event.reencoded for event in told if isinstance(event, Planned)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"segment_s": 0.0}, "--segment-s is 0.0"),
        ({"segment_s": float("nan")}, "--segment-s is nan"),
        ({"deadline_s": 0}, "--deadline-s is 0"),
        ({"in_flight": 0}, "--in-flight is 0"),
        ({"send_id": "../x"}, "--id is '../x'"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(SendInvalid) as raised:
        await send(video, SIZES, client, tmp_path, lambda event: None, **wrong)
    assert says in str(raised.value)
    assert not edge.jobs
    assert not left_in(tmp_path, "*")


async def test_cancelled_it_leaves_no_task_and_no_file_at_the_output(
    edge: EdgeDouble, client: EdgeClient, video: Path, tmp_path: Path
) -> None:
    under_way = asyncio.Event()
    sending = asyncio.create_task(send(video, SIZES, client, tmp_path, lambda event: under_way.set()))
    await under_way.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert not left_in(tmp_path, "*.mp4")
