"""What ``millpond send`` shows: a live picture on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from millpond_cli.gateway.progress import Joined, Noted, OnEvent, Planned, SegmentMoved, SegmentState, SendEvent
from millpond_cli.gateway.tally import Tally

REFRESHES_PER_S: Final = 8
# Between two plain lines, unless something went wrong.
LINE_S: Final = 5.0
# So tall may the field of cells become; in a longer video a cell stands for several segments.
ROWS_MAX: Final = 6
NOTES_MAX: Final = 3
CELL_COLUMNS_MAX: Final = 8

WAITING: Final = ("·", "grey42")
RETRIED: Final = ("◆", "yellow")
CELLS: Final = {
    SegmentState.CUT: ("▫", "grey70"),
    SegmentState.SENT: ("▪", "blue"),
    SegmentState.ON_GPU: ("▶", "cyan"),
    SegmentState.TRANSCODED: ("▣", "green"),
    SegmentState.DONE: ("■", "bold green"),
    SegmentState.FAILED: ("✗", "bold red"),
}
LEGEND: Final = (
    (*WAITING, "waiting"),
    (*CELLS[SegmentState.SENT], "sent"),
    (*CELLS[SegmentState.ON_GPU], "on a GPU"),
    (*RETRIED, "again, elsewhere"),
    (*CELLS[SegmentState.DONE], "done"),
    (*CELLS[SegmentState.FAILED], "failed"),
)
# If several segments share a cell, it shows the first of these that is among them.
_FIRST_SHOWN: Final = (
    CELLS[SegmentState.FAILED],
    RETRIED,
    CELLS[SegmentState.ON_GPU],
    CELLS[SegmentState.TRANSCODED],
    CELLS[SegmentState.SENT],
    CELLS[SegmentState.CUT],
    WAITING,
    CELLS[SegmentState.DONE],
)


@contextmanager
def shown(console: Console) -> Iterator[OnEvent]:
    """Shows what the yielded function is told, until left."""
    if not console.is_terminal:
        yield _Lines(console).told
        return
    tally, began = Tally(), time.monotonic()
    with Live(
        get_renderable=lambda: picture(tally, time.monotonic() - began, console.width),
        console=console,
        refresh_per_second=REFRESHES_PER_S,
    ):
        yield tally.add


def picture(tally: Tally, elapsed_s: float, width: int) -> RenderableType:
    """The whole view, at a moment."""
    planned = tally.planned
    if planned is None:
        return Text("Reading the video …", style="grey70")
    inner = max(10, width - 4)
    frames_per_s, times = tally.speed(elapsed_s)
    done, gpus = tally.in_state(SegmentState.DONE), tally.in_state(SegmentState.ON_GPU)
    status = Text.assemble(
        (f"{done}/{tally.segments_expected}", "bold green"),
        f" segments   {gpus} on GPUs   {tally.retried} done again   ",
        (f"{frames_per_s:.0f} frames/s", "bold"),
        f"   {times:.1f}x real time   {_clock(elapsed_s)}",
    )
    title = Text.assemble((planned.video.name, "bold"), f"  {_clock(planned.duration_s)}  --id {planned.send_id}")
    notes = [Text(f"! {note}", style="yellow") for note in tally.notes[-NOTES_MAX:]]
    parts: list[RenderableType] = [
        cells(tally, inner),
        _legend(),
        Text(),
        _renditions(tally, planned),
        Text(),
        status,
        *notes,
    ]
    return Panel(Group(*parts), title=title, title_align="left", border_style="blue", width=width)


def cells(tally: Tally, width: int) -> Text:
    """A row of cells, one or more segments each, coloured by what becomes of them."""
    count = tally.segments_expected
    each = max(1, -(-count // (width * ROWS_MAX)))
    # A short video has broad cells with gaps, so that a handful of segments can be seen from afar.
    broad = max(1, min(CELL_COLUMNS_MAX, width // max(1, count) - 1))
    gap = " " if broad > 1 else ""
    text = Text()
    for start in range(0, count, each):
        looks = [_look(tally.segments.get(index)) for index in range(start, min(start + each, count))]
        sign, colour = min(looks, key=_FIRST_SHOWN.index)
        text.append(sign * broad, colour)
        text.append(gap)
    text.rstrip()
    return text


def _look(segment: SegmentMoved | None) -> tuple[str, str]:
    if segment is None:
        return WAITING
    if segment.attempts > 1 and segment.state is SegmentState.ON_GPU:
        return RETRIED
    return CELLS[segment.state]


def _legend() -> Text:
    return Text("   ").join(Text.assemble((sign, colour), (f" {name}", "grey70")) for sign, colour, name in LEGEND)


def _renditions(tally: Tally, planned: Planned) -> Table:
    table = Table.grid(padding=(0, 2))
    for rendition in planned.renditions:
        parts = tally.parts[rendition.name]
        finished = rendition.name in tally.joined
        table.add_row(
            Text(rendition.name, style="bold"),
            f"{rendition.width}x{rendition.height}",
            f"{rendition.bitrate_kbps} kbit/s",
            ProgressBar(total=max(1, tally.segments_expected), completed=parts, width=24),
            Text(f"{tally.received_bytes[rendition.name] / 1e6:.1f} MB", justify="right"),
            Text("joined and checked" if finished else "", style="green"),
        )
    return table


class _Lines:
    """The same for a pipe or a log: the plan, notes and failures at once, the progress every few seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._began = self._said = time.monotonic()

    def told(self, event: SendEvent) -> None:
        self._tally.add(event)
        match event:
            case Planned():
                sizes = ", ".join(f"{each.name} ({each.width}x{each.height})" for each in event.renditions)
                about = "about " if event.reencoded else ""
                self._say(
                    f"{event.video.name}: {event.frames} frames, {event.duration_s:.1f} s, "
                    f"{about}{event.segments} segments, to {sizes}; --id {event.send_id}"
                )
                if event.reencoded:
                    self._say(f"It is coded again before it is cut: {event.reencoded}.")
            case Noted():
                self._say(event.sentence)
            case SegmentMoved(state=SegmentState.FAILED):
                self._say(f"segment {event.index} failed: {event.sentence}")
            case Joined():
                self._say(f"{event.rendition}: {event.path}")
            case _ if time.monotonic() - self._said >= LINE_S:
                self._say(self._progress())

    def _progress(self) -> str:
        elapsed_s = time.monotonic() - self._began
        frames_per_s, times = self._tally.speed(elapsed_s)
        done, expected = self._tally.in_state(SegmentState.DONE), self._tally.segments_expected
        return (
            f"{done} of {expected} segments done, {self._tally.in_state(SegmentState.ON_GPU)} on GPUs, "
            f"{self._tally.retried} done again, {frames_per_s:.0f} frames/s ({times:.1f}x), {_clock(elapsed_s)}"
        )

    def _say(self, line: str) -> None:
        self._said = time.monotonic()
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"
