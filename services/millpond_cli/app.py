"""The command ``millpond``."""

from __future__ import annotations

import logging

import typer

from millpond_agent.commands import agent
from millpond_cli.archive import export, restore
from millpond_cli.database import database
from millpond_cli.deadletters import deadletters
from millpond_cli.delegate import delegate, leave, revoke
from millpond_cli.gateway.command import send
from millpond_cli.generate import generate
from millpond_cli.recovery import rebuild, resend_tail
from millpond_cli.settings import settings
from millpond_cli.stack import stack
from millpond_cli.topics import topics

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(stack)
app.command()(settings)
app.add_typer(topics, name="topics")
topics.command("export")(export)
topics.command("restore")(restore)
topics.command("resend")(resend_tail)
app.command()(rebuild)
app.add_typer(deadletters, name="deadletters")
app.add_typer(database, name="database")
app.command()(generate)
app.command()(send)
app.add_typer(agent, name="agent")
app.command()(delegate)
app.command()(revoke)
app.command()(leave)


@app.callback()
def _root() -> None:
    """Run a Livepeer orchestrator pool on other people's GPUs."""


def main() -> None:
    # Our errors say what aiokafka found; without a handler its warnings would reach the terminal beside them.
    logging.getLogger("aiokafka").addHandler(logging.NullHandler())
    app()
