"""What a person sees: a line for each step that is done, and a live picture while the video is under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from millpond_cli.gateway.progress import OnEvent
from millpond_cli.gateway.tally import Tally
from millpond_cli.gateway.view import picture, shown
from millpond_demo.contributors import Machine
from millpond_demo.watch import Watch

REFRESHES_PER_S: Final = 8
STATES: Final = {"online": "green", "silent": "yellow", "gone": "red"}


class Screen:
    """``step`` and ``note`` print lines, also above the live picture."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._began = time.monotonic()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Says ``title`` with its seconds once the block has ended; meanwhile a spinner does."""
        began = time.monotonic()
        with self.console.status(f"{title} …"):
            yield
        self.done(title, time.monotonic() - began)

    def done(self, title: str, seconds: float) -> None:
        done = Text.assemble(("✓ ", "bold green"), title, (f"  {seconds:.1f} s", "grey50"))
        self.console.print(done, soft_wrap=True)

    def note(self, sentence: str) -> None:
        """Something that happens, with the seconds since the start."""
        seconds = f"  {time.monotonic() - self._began:5.1f} s  "
        self.console.print(Text.assemble((seconds, "grey50"), (sentence, "yellow")), soft_wrap=True)

    @contextmanager
    def under_way(self, watch: Watch, machines: Sequence[Machine]) -> Iterator[OnEvent]:
        """What the yielded function is told of the video, and what the topics say of the machines."""
        if not self.console.is_terminal:
            with shown(self.console) as told:
                yield told
            return
        tally, began = Tally(), time.monotonic()

        def now() -> RenderableType:
            width = min(self.console.width, 110)
            return Group(picture(tally, time.monotonic() - began, width), machines_table(watch, machines))

        with Live(get_renderable=now, console=self.console, refresh_per_second=REFRESHES_PER_S):
            yield tally.add


def machines_table(watch: Watch, machines: Sequence[Machine]) -> Table:
    """A row for each machine, as the topics tell of it."""
    table = Table("machine", "lent by", "", "runs", "jobs kept", "pixels counted", box=None, header_style="grey50")
    for column in table.columns[3:]:
        column.justify = "right"
    for machine in machines:
        seen = watch.seen
        state = seen.online.get(machine.device, "joining")
        table.add_row(
            machine.name,
            _cut(machine.owner.address),
            Text(state, STATES.get(state, "grey50")),
            str(seen.running_on(machine.device)),
            str(seen.kept_of(machine.device)),
            f"{seen.pixels_of(machine.device):,}",
        )
    return table


def _cut(address: str) -> str:
    return f"{address[:8]}…{address[-4:]}"
