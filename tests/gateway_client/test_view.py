"""What millpond send shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from millpond.workloads.transcode import Rendition
from millpond_cli.gateway.progress import (
    CutEnded,
    Joined,
    Noted,
    PartFetched,
    Planned,
    SegmentMoved,
    SegmentState,
    SendEvent,
)
from millpond_cli.gateway.tally import Tally
from millpond_cli.gateway.view import CELLS, RETRIED, ROWS_MAX, WAITING, cells, picture, shown

SMALL = Rendition(name="64p", width=114, height=64, bitrate_kbps=100)
PLANNED = Planned("abc", Path("holiday [1].mp4"), 150, 5.0, 5, (SMALL,), None)
STORY: tuple[SendEvent, ...] = (
    PLANNED,
    SegmentMoved(0, 30, SegmentState.DONE, 1),
    SegmentMoved(1, 30, SegmentState.ON_GPU, 2),
    SegmentMoved(2, 30, SegmentState.SENT),
    SegmentMoved(3, 30, SegmentState.FAILED, 3, "Three devices [failed] at it."),
    PartFetched(0, "64p", 2_500_000),
    Noted("64p is [larger] than the source."),
)


def tallied(*events: SendEvent) -> Tally:
    tally = Tally()
    for event in events:
        tally.add(event)
    return tally


def drawn(tally: Tally, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(picture(tally, 2.0, width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_each_segment_is_a_cell_that_shows_its_state() -> None:
    done, failed, sent = CELLS[SegmentState.DONE], CELLS[SegmentState.FAILED], CELLS[SegmentState.SENT]
    looks = (done, RETRIED, sent, failed, WAITING)
    text = cells(tallied(*STORY), 5)
    assert text.plain == "".join(look[0] for look in looks)
    assert [span.style for span in text.spans] == [done[1], RETRIED[1], sent[1], failed[1], WAITING[1]]


def test_a_short_video_has_broad_cells() -> None:
    assert [len(set(cell)) for cell in cells(tallied(*STORY), 60).plain.split()] == [1] * 5
    assert len(cells(tallied(*STORY), 60).plain) > 40


def test_the_picture_says_what_one_wants_to_know() -> None:
    text = drawn(tallied(*STORY))
    for words in (
        "holiday [1].mp4",
        "--id abc",
        "1/5 segments",
        "1 on GPUs",
        "15 frames/s",
        "0.5x real time",
        "0:02",
        "64p",
        "114x64",
        "2.5 MB",
        "! 64p is [larger] than the source.",
    ):
        assert words in text
    assert "joined" not in text
    assert "joined and checked" in drawn(tallied(*STORY, Joined("64p", Path("x.mp4"))))


def test_before_the_plan_it_says_that_it_reads() -> None:
    assert "Reading" in drawn(Tally())


@given(count=st.integers(1, 30_000), width=st.integers(10, 200), failed=st.integers(0, 29_999))
def test_a_video_of_any_length_fits_and_a_failure_is_always_seen(count: int, width: int, failed: int) -> None:
    moved = SegmentMoved(failed % count, 1, SegmentState.FAILED)
    planned = Planned("abc", Path("x"), count, float(count), count, (SMALL,), None)
    text = cells(tallied(planned, moved), width).plain
    assert len(text) <= width * ROWS_MAX
    assert CELLS[SegmentState.FAILED][0] in text


@pytest.mark.parametrize("width", [20, 80, 250])
def test_it_is_drawn_on_a_terminal_of_any_width(width: int) -> None:
    assert all(len(line) <= width for line in drawn(tallied(*STORY), width).splitlines())


def test_the_guessed_number_of_segments_gives_way_to_the_right_one() -> None:
    assert tallied(PLANNED, SegmentMoved(6, 1, SegmentState.CUT)).segments_expected == 7
    assert tallied(PLANNED, CutEnded(4)).segments_expected == 4


def test_in_a_pipe_it_is_plain_lines() -> None:
    console = Console(file=io.StringIO(), width=60)
    with shown(console) as on_event:
        for event in (*STORY, Joined("64p", Path("out/holiday-64p.mp4"))):
            on_event(event)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines() == [
        "holiday [1].mp4: 150 frames, 5.0 s, 5 segments, to 64p (114x64); --id abc",
        "segment 3 failed: Three devices [failed] at it.",
        "64p is [larger] than the source.",
        "64p: out/holiday-64p.mp4",
    ]


def test_on_a_terminal_it_is_one_picture_that_stays() -> None:
    console = Console(file=io.StringIO(), width=100, force_terminal=True)
    with shown(console) as on_event:
        for event in STORY:
            on_event(event)
    assert isinstance(console.file, io.StringIO)
    assert "holiday" in console.file.getvalue()
