"""``python -m millpond_demo``: what ``make demo`` and ``make pool`` run."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millpond.errors import MillpondError
from millpond.localstack import take
from millpond_cli.gateway.source import probe
from millpond_demo.chaos import check_victim
from millpond_demo.ending import show
from millpond_demo.pool import SERVICES
from millpond_demo.screen import Screen
from millpond_demo.story import Story

VIDEO = Path(__file__).with_name("bigbuckbunny.mp4")
DIRECTORY = Path(".local/demo")


def main(
    video: Annotated[Path, typer.Option("--input", help="A video of your own.")] = VIDEO,
    chaos: Annotated[
        str | None, typer.Option(help="SIGKILL this every few seconds: a service, kafka or postgres.")
    ] = None,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up afterwards, until Ctrl-C.")] = False,
    directory: Annotated[Path, typer.Option(help="Where everything lies; emptied at the start.")] = DIRECTORY,
) -> None:
    """A pool on this machine: two contributors, three devices, a video in, its renditions out, every segment counted."""
    console = Console(highlight=False)
    try:
        check_victim(chaos, SERVICES)
        probe(video)
        lock = take(directory.resolve())
        _empty(directory.resolve())
        asyncio.run(_play(Story(directory.resolve(), lock, video, chaos, Screen(console)), stay=stay))
    except MillpondError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("Stopped.")
        raise typer.Exit(130) from None


async def _play(story: Story, *, stay: bool) -> None:
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    async with story.played() as told:
        show(story, told, stay=stay)
        if stay:
            await asyncio.Event().wait()


def _empty(directory: Path) -> None:
    """Everything but the lock, which is ours: a pool begins with nothing."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


if __name__ == "__main__":
    typer.run(main)
