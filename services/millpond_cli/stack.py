"""``millpond stack``: the local stack in the foreground."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from millpond.errors import MillpondError
from millpond.localstack import COMPONENTS, LocalStack

WATCH_S = 0.5
DEFAULT_DIRECTORY = Path(".local/stack")


def stack(
    directory: Annotated[Path, typer.Option(help="Where its data, logs and addresses lie.")] = DEFAULT_DIRECTORY,
    only: Annotated[list[str] | None, typer.Option(help="A component to start: kafka, postgres or anvil.")] = None,
) -> None:
    """Kafka, PostgreSQL and anvil on free ports, until Ctrl-C; what dies is started again."""
    if unknown := set(only or ()) - set(COMPONENTS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose from {', '.join(COMPONENTS)}")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    console = Console()
    try:
        with LocalStack(directory, tuple(only or COMPONENTS)) as running:
            console.print(_table(running))
            console.print(f"Ready. Addresses are in {running.directory / 'env'}; Ctrl-C stops it.")
            _watch(running, console)
    except KeyboardInterrupt:
        console.print("Stopped.")
    except MillpondError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(1) from None


def _watch(running: LocalStack, console: Console) -> None:
    while True:
        time.sleep(WATCH_S)
        for component in running.restart_dead():
            console.print(f"{component.name} had died; it answers again after {component.start_s:.1f} s.")


def _table(running: LocalStack) -> Table:
    table = Table("component", "address", "seconds to start")
    for component in running.components:
        table.add_row(component.name, component.address, f"{component.start_s:.1f}")
    return table


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
