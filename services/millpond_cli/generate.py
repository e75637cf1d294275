"""``millpond generate``: the files that are made from the topic table and checked in."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from millpond.events.acls import acl_document
from millpond.events.asyncapi import asyncapi_document

DEFAULT_DIRECTORY: Final = Path("deploy/generated")
# Enough to see what changed; the whole is a `git diff` away.
DIFFERENCE_LINES_MAX: Final = 20

DOCUMENTS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "acls.json": acl_document,
    "asyncapi.json": asyncapi_document,
}


def generate(
    directory: Annotated[Path, typer.Option(help="Where the files lie.")] = DEFAULT_DIRECTORY,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail if a file is stale.")] = False,
) -> None:
    """Write the brokers' ACLs and the AsyncAPI document from the topic table."""
    stale = {name: text for name, text in rendered().items() if _text(directory / name) != text}
    if check:
        for name, text in stale.items():
            typer.echo(f"{directory / name} is stale; run `millpond generate`:\n{_difference(directory / name, text)}")
        if stale:
            raise typer.Exit(1)
        return
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in stale.items():
        (directory / name).write_text(text, encoding="utf-8")
        typer.echo(f"Wrote {directory / name}.")


def rendered() -> dict[str, str]:
    """File name to content: the same bytes for the same table, wherever it runs."""
    return {name: json.dumps(make(), indent=2, ensure_ascii=False) + "\n" for name, make in DOCUMENTS.items()}


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def _difference(path: Path, wanted: str) -> str:
    lines = list(
        difflib.unified_diff(
            (_text(path) or "").splitlines(), wanted.splitlines(), "checked in", "table", lineterm="", n=1
        )
    )
    more = [f"… and {len(lines) - DIFFERENCE_LINES_MAX} lines more"] if len(lines) > DIFFERENCE_LINES_MAX else []
    return "\n".join([*lines[:DIFFERENCE_LINES_MAX], *more])
