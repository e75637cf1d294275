"""What the contributor sees: one calm screen, or lines where there is no terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from millpond.events.device_claims import Gpu, GpuLoad
from millpond_agent.activity import Activity, Message, Tone
from millpond_agent.jobs import Track

REFRESHES_PER_S: Final = 4
BAR_COLUMNS: Final = 28
# Jobs that are shown; a machine with more says how many there are.
JOBS_SHOWN_MAX: Final = 12
MESSAGES_SHOWN_MIN: Final = 3
WEI_DIGITS: Final = 18
UNKNOWN: Final = "–"
STYLES: Final[dict[Tone, str]] = {"plain": "default", "good": "green", "bad": "yellow"}


@contextmanager
def shown(activity: Activity, console: Console, *, plain: bool) -> Iterator[None]:
    """A live screen; or, with ``plain`` or without a terminal, a line for each message."""
    if plain or not console.is_terminal:
        activity.listeners.append(lambda message: print(line(message), flush=True))
        yield
        return
    live = Live(
        get_renderable=lambda: screen(activity, datetime.now().astimezone(), console.height),
        console=console,
        screen=True,
        refresh_per_second=REFRESHES_PER_S,
    )
    try:
        with live:
            yield
    finally:
        # The screen is gone with all that was on it; this stays.
        if activity.gpus:
            console.print(_figures(activity))


def line(message: Message) -> str:
    return f"{message.at:%H:%M:%S}  {message.text}"


def screen(activity: Activity, now: datetime, height: int) -> RenderableType:
    """``height``: rows of the terminal; the messages get what is left."""
    jobs = list(activity.running.values())
    taken = 12 + max(1, len(activity.gpus)) + min(max(1, len(jobs)), JOBS_SHOWN_MAX + 1)
    messages = list(activity.messages)[-max(MESSAGES_SHOWN_MIN, height - taken) :]
    parts = (
        _header(activity, now),
        Rule(style="grey30"),
        _gpus(activity),
        Rule(style="grey30"),
        _jobs(jobs, activity.frames_of_last, now),
        Rule(style="grey30"),
        _figures(activity),
        Rule(style="grey30"),
        _messages(messages),
    )
    return Padding(Group(*parts), (0, 1))


def eth(wei: int) -> str:
    """Every digit that there is: 0.000042, never 4.2e-05."""
    whole, rest = divmod(wei, 10**WEI_DIGITS)
    decimals = f"{rest:0{WEI_DIGITS}d}".rstrip("0")
    return f"{whole}.{decimals or '0'} ETH"


def _header(activity: Activity, now: datetime) -> RenderableType:
    first, second = _row(), _row()
    dot = "[green]●[/]" if activity.is_connected else "[yellow]○[/]"
    first.add_row(
        f"[bold]Millpond[/]  [cyan]{escape(activity.pool)}[/]  [grey50]{escape(activity.edge)}[/]",
        f"{dot} {escape(activity.connection)}  [grey50]{now:%H:%M:%S}[/]",
    )
    contributor = _cut(activity.contributor) if activity.contributor else UNKNOWN
    second.add_row(
        f"[grey50]contributor[/] {contributor}   [grey50]device[/] {_cut(activity.device)}",
        "[yellow]finishing; Ctrl-C ends at once[/]" if activity.is_leaving else "[grey50]Ctrl-C finishes and leaves[/]",
    )
    return Group(first, second)


def _gpus(activity: Activity) -> RenderableType:
    table = Table(box=None, expand=True, pad_edge=False, header_style="grey50")
    table.add_column("GPU", ratio=1, no_wrap=True, overflow="ellipsis")
    for heading in ("jobs", "load", "memory free", "temperature"):
        table.add_column(heading, justify="right", no_wrap=True)
    for gpu in activity.gpus:
        running = sum(track.assigned.hardware_id == gpu.hardware_id for track in activity.running.values())
        table.add_row(*_gpu(gpu, activity.loads.get(gpu.hardware_id), running))
    if not activity.gpus:
        table.add_row("[grey50]starting…[/]", *[UNKNOWN] * 4)
    return table


def _gpu(gpu: Gpu, load: GpuLoad | None, running: int) -> tuple[str, ...]:
    """``load`` None: its runner doesn't answer."""
    if load is None:
        return (f"{escape(gpu.model)}  [yellow]runner away[/]", *[UNKNOWN] * 4)
    free, total = load.memory_free_bytes, gpu.memory_bytes
    return (
        escape(gpu.model),
        f"{running} of {gpu.slots}",
        UNKNOWN if load.utilization_percent is None else f"{load.utilization_percent} %",
        UNKNOWN if free is None or total is None else f"{free / 2**30:.1f} of {total / 2**30:.0f} GiB",
        UNKNOWN if load.temperature_celsius is None else f"{load.temperature_celsius} °C",
    )


def _jobs(tracks: list[Track], frames_of_last: int | None, now: datetime) -> RenderableType:
    if not tracks:
        return Text("Waiting for jobs.", style="grey50")
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(width=BAR_COLUMNS)
    table.add_column(justify="right", no_wrap=True, min_width=16)
    table.add_column(justify="right", no_wrap=True, min_width=5)
    for track in tracks[:JOBS_SHOWN_MAX]:
        assigned = track.assigned
        seconds = max(0, int((now - track.began_at).total_seconds()))
        table.add_row(
            f"{assigned.job[:8]}/{assigned.attempt}",
            f"[grey50]{escape(' '.join(rendition.name for rendition in assigned.spec.renditions))}[/]",
            track.phase,
            *_progress(track, frames_of_last),
            f"[grey50]{seconds} s[/]",
        )
    more = len(tracks) - JOBS_SHOWN_MAX
    return Group(table, Text(f"and {more} more", style="grey50")) if more > 0 else table


def _progress(track: Track, frames_of_last: int | None) -> tuple[RenderableType, str]:
    """The bar, and the frames in words. A guess is marked as one: segments of one video are mostly alike."""
    known = track.expected_frames
    expected = known or frames_of_last
    if track.phase == "delivering":
        return _bar(1, 1), f"{track.frames} frames"
    if expected is None:
        return _bar(0, None), f"{track.frames} frames"
    total = max(expected, track.frames)
    return _bar(track.frames, total), f"{track.frames} of {'' if known else '~'}{total} frames"


def _bar(completed: int, total: int | None) -> ProgressBar:
    """``total`` None: unknown, so it only shows that something goes on."""
    return ProgressBar(
        total=total,
        completed=completed,
        width=BAR_COLUMNS,
        complete_style="cyan",
        finished_style="green",
        pulse_style="cyan",
    )


def _figures(activity: Activity) -> RenderableType:
    figures = activity.figures
    first, second = _row(), _row()
    failed = f"[yellow]{figures.failed}[/]" if figures.failed else "0"
    held = f"   [yellow]{eth(figures.held_wei)} held[/]" if figures.held_wei else ""
    first.add_row(
        f"[grey50]today[/]   [bold]{figures.done}[/] done   {failed} failed   {figures.pixels / 1e6:,.1f} megapixels",
        f"[grey50]{figures.receipts:,} receipt{'' if figures.receipts == 1 else 's'}[/]",
    )
    second.add_row(
        f"[grey50]earned[/]  [bold]{eth(figures.earned_wei)}[/]{held}",
        "[grey50]estimate: gross, before the pool's split[/]",
    )
    return Group(first, second)


def _messages(messages: Iterable[Message]) -> RenderableType:
    table = Table.grid(padding=(0, 2), expand=True)
    table.add_column(no_wrap=True, style="grey50")
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for message in messages:
        table.add_row(f"{message.at:%H:%M:%S}", Text(message.text, style=STYLES[message.tone]))
    return table


def _row() -> Table:
    """Something at the left, something at the right."""
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    grid.add_column(no_wrap=True, justify="right")
    return grid


def _cut(identity: str) -> str:
    return f"{identity[:8]}…{identity[-6:]}"
