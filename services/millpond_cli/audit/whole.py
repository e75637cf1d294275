"""The whole audit for the terminal: what is read, how far it is, what comes out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millpond_cli.audit.bundle import Bundle, check_files
from millpond_cli.audit.logs import OpenLog, of_bundle, of_kafka
from millpond_cli.audit.reading import Told
from millpond_cli.audit.report import document, rows, table, totals
from millpond_cli.audit.run import Audited, Plan, run_audit
from millpond_cli.topics import kafka_settings

# A pipe has no width; rich would assume 80 columns and fold the addresses.
PIPE_COLUMNS: Final = 200


def audit_all(
    *,
    epoch: int | None,
    contributor: str | None,
    bundle: Path | None,
    rpc: str | None,
    level: int,
    key: str | None,
    as_json: bool,
    bootstrap_servers: str | None,
) -> None:
    """Shows what came out. Raises ``Difference``."""
    with _bar("auditing") as (told, sized):
        plan, open_log = _plan(epoch, bundle, level, key, bootstrap_servers)
        audited = run_audit(open_log, plan, told, sized)
        chain = None if rpc is None else _on_chain(rpc, audited)
    _show(audited, contributor, chain, as_json)


def _plan(
    epoch: int | None, bundle: Path | None, level: int, key: str | None, bootstrap_servers: str | None
) -> tuple[Plan, OpenLog]:
    if bundle is None:
        settings = kafka_settings(bootstrap_servers)
        return Plan(settings.bootstrap_servers, epoch, level, key=key), partial(of_kafka, settings.client_options())
    found = Bundle.read(bundle)
    check_files(found)
    return Plan(str(bundle), found.epoch if epoch is None else epoch, level, key=key), partial(of_bundle, bundle)


def _on_chain(rpc: str, audited: Audited) -> dict[str, Any]:
    # Imported when it is needed: the client of a chain takes longer to import than a contributor's audit to run.
    from millpond_cli.audit.chain import compare_with_chain

    return compare_with_chain(rpc, audited)


def _show(audited: Audited, contributor: str | None, chain: dict[str, Any] | None, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(document(audited, contributor, chain), indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    lines = sum(head.size for closed in audited.closed for head in closed.lines)
    console.print(table(rows(audited, contributor)))
    for total in totals(audited):
        console.print(str(total), highlight=False)
    for name, value in (chain or {}).items():
        console.print(f"On the chain: {name.replace('_', ' ')} {value}", highlight=False)
    last = audited.closed[-1]
    console.print(
        f"It all comes out: epochs {audited.epochs.start} to {audited.epochs[-1]}, {lines} usage lines, levels 1 to "
        f"{audited.levels}; root {last.root}.",
        highlight=False,
    )


@contextmanager
def _bar(what: str) -> Iterator[tuple[Told, Told]]:
    """How many records have been read of how many, on the terminal; nothing in a pipe."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not Console().is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count), lambda total: bar.update(task, total=total)
