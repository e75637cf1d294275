"""``millpond database``: a role and a schema for each service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millpond.errors import MillpondError
from millpond.events.roles import SERVICES
from millpond.stream.postgres.provision import provision

database = typer.Typer(no_args_is_help=True, help="A role and a schema for each service.")


@database.callback()
def _root() -> None:
    """A role and a schema for each service."""


@database.command("apply")
def apply(
    admin_dsn: Annotated[
        str, typer.Option(envvar="MILLPOND_POSTGRES_ADMIN_DSN", help="A role that may create roles and schemas.")
    ],
    passwords: Annotated[
        Path, typer.Option(help="Folder with a file per service, named after it, that holds its role's password.")
    ],
    service: Annotated[list[str] | None, typer.Option(help="Only these; all that have a file otherwise.")] = None,
) -> None:
    """Makes each service's role and schema, or brings them up to date: passwords, time limits, ownership."""
    console = Console()
    chosen = service or [name for name in SERVICES if (passwords / name).is_file()]
    if not chosen:
        console.print(f"{passwords} holds no file named after a service: {', '.join(SERVICES)}.")
        raise typer.Exit(1)
    for name in chosen:
        try:
            asyncio.run(provision(admin_dsn, name, _password(passwords / name)))
        except (MillpondError, OSError) as refusal:
            console.print(f"{name}: {refusal}", markup=False)
            raise typer.Exit(1) from None
        console.print(f"{name}: role and schema are there", markup=False)


def _password(path: Path) -> str:
    password = path.read_text().strip()
    if not password:
        raise OSError(f"{path} is empty; write the password of the role {path.name} into it")
    return password
