"""The command ``millpond``."""

from __future__ import annotations

import typer

from millpond_cli.stack import stack

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(stack)


@app.callback()
def _root() -> None:
    """Run a Livepeer orchestrator pool on other people's GPUs."""


def main() -> None:
    app()
