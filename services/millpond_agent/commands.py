"""``millpond agent``: what a contributor types on the machine that he lends."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from millpond.errors import MillpondError
from millpond.identity import load_or_make_device_key
from millpond.settings import LogSettings, load
from millpond.telemetry.logs import set_up_logs
from millpond_agent.errors import DirectoryUnusable, JoinFailed
from millpond_agent.join import join as join_pool
from millpond_agent.running import KEY_FILE, run_agent
from millpond_agent.settings import AgentSettings
from millpond_agent.status import status_lines

agent = typer.Typer(no_args_is_help=True, help="Lend this machine's GPUs to a pool.")

Edge = Annotated[str | None, typer.Option(help="URL of the pool; unset: the one that was joined.")]


@agent.command()
def join(
    url: Annotated[str, typer.Argument(metavar="URL", help="The pool's address, such as https://pool.example.")],
    delegation: Annotated[
        Path | None, typer.Option(help="A file of `millpond delegate`, in place of a wallet in the browser.")
    ] = None,
    contributor: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Join for this wallet only, and without a question.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Join for whichever wallet delegates, without a question.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Also if it is in already: a delegation about to expire.")
    ] = False,
    wait: Annotated[
        float, typer.Option(min=0, max=3600, metavar="SECONDS", help="How long to wait for the pool's answer.")
    ] = 20.0,
) -> None:
    """Make this machine's key, let the contributor's wallet delegate it, and ask the pool in."""

    def confirm(signer: str) -> bool:
        if contributor is not None:
            return signer.lower() == contributor.lower()
        if yes or delegation is not None:
            return True
        if not sys.stdin.isatty():
            raise JoinFailed(
                problem=f"{signer} delegated it. Say whether that is right: --contributor {signer}, or --yes"
            )
        return typer.confirm(f"Shall this machine work for {signer}?")

    settings = _settings()
    try:
        asyncio.run(
            join_pool(url, settings, Console(), delegation=delegation, confirm=confirm, again=again, wait_s=wait)
        )
    except MillpondError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@agent.command()
def run(
    edge: Edge = None,
    runner: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="A runner that is started already, one for each GPU; repeatable."),
    ] = None,
    slots: Annotated[int | None, typer.Option(min=1, max=256, help="Jobs at once on each GPU.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Lines in place of the live screen.")] = False,
) -> None:
    """Take jobs until Ctrl-C, which finishes what runs; a second one ends at once."""
    changes = {"edge": edge, "runners": tuple(runner) if runner else None, "slots": slots}
    settings = _settings().model_copy(update={name: value for name, value in changes.items() if value is not None})
    console = Console()
    with ExitStack() as stack:
        try:
            if plain or not console.is_terminal:
                set_up_logs(load(LogSettings), service="agent")
            else:
                # Lines on the screen's own terminal would tear it.
                log = stack.enter_context((settings.directory / "agent.log").open("a"))
                set_up_logs(load(LogSettings), service="agent", stream=log)
            # A line for each request would bury what matters.
            logging.getLogger("httpx").setLevel(logging.WARNING)
            asyncio.run(run_agent(settings, console, plain=plain))
        except MillpondError as error:
            _fail(error)


@agent.command()
def status(edge: Edge = None) -> None:
    """What the pool says about this machine, and what it has done."""
    settings = _settings()
    try:
        for line in asyncio.run(status_lines(settings, edge)):
            typer.echo(line)
    except MillpondError as error:
        _fail(error)


@agent.command()
def device() -> None:
    """Print this machine's device id, for `millpond delegate --device`; makes its key if there is none."""
    try:
        typer.echo(load_or_make_device_key(_settings().directory / KEY_FILE).device)
    except MillpondError as error:
        _fail(error)


def _settings() -> AgentSettings:
    try:
        settings = load(AgentSettings)
        settings.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except MillpondError as error:
        _fail(error)
    except OSError as error:
        _fail(DirectoryUnusable(directory=error.filename, problem=error.strerror))
    return settings


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
