"""``millpond audit`` and ``millpond export``: the same wei from the same topics, or the first that differs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millpond.errors import MillpondError
from millpond.stream.recovery.archive import Manifest
from millpond_cli.audit.bundle import Bundle, check_files
from millpond_cli.audit.contributor import OwnPay, audit_contributor
from millpond_cli.audit.difference import Difference
from millpond_cli.audit.export import PROOFS, export_epoch
from millpond_cli.audit.logs import OpenLog, of_bundle, of_kafka
from millpond_cli.audit.reading import Told
from millpond_cli.audit.report import document, own_document, rows, table, totals
from millpond_cli.audit.run import LEVELS, Audited, Plan, run_audit
from millpond_cli.orders import fail
from millpond_cli.topics import BootstrapServers, kafka_settings

# A pipe has no width; rich would assume 80 columns and fold the addresses.
PIPE_COLUMNS: Final = 200

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs; amounts are strings.")]


def audit(
    epoch: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Only this one. Unset: all, or the bundle's.")
    ] = None,
    contributor: Annotated[
        str | None,
        typer.Option(metavar="ADDR", help="Only this one's pay; with --bundle from his own proof, in seconds."),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Files that `millpond export` wrote: no broker is asked.")
    ] = None,
    rpc: Annotated[
        str | None, typer.Option(metavar="URL", help="A node: every income and payout is compared with the chain.")
    ] = None,
    level: Annotated[
        int, typer.Option(min=1, max=LEVELS, help="1: pay from lines and income. 2 and 3: each line; nothing left out.")
    ] = LEVELS,
    key: Annotated[
        str | None, typer.Option(metavar="0x…", help="The pool's public key. Unset: the terms' receipt_key.")
    ] = None,
    as_json: AsJson = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Compute every wei again from the topics; exits with 1 at the first difference, and says what is behind it."""
    try:
        if bundle is not None and contributor is not None and rpc is None and epoch is None:
            _show_own(audit_contributor(bundle / PROOFS / f"{contributor}.jsonl.gz", key=key), as_json)
            return
        with _bar("auditing") as (told, sized):
            plan, open_log = _plan(epoch, bundle, level, key, bootstrap_servers)
            audited = run_audit(open_log, plan, told, sized)
            chain = None if rpc is None else _on_chain(rpc, audited)
        _show(audited, contributor, chain, as_json)
    except Difference as found:
        if as_json:
            typer.echo(
                json.dumps({"audit": "differs", **{name: str(fact) for name, fact in found.facts.items()}}, indent=2)
            )
        fail(found)
    except MillpondError as error:
        fail(error)


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory: plain files with their hashes.")],
    epoch: Annotated[int, typer.Option("--epoch", min=0, metavar="N", help="Which.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Write all that the audit of an epoch needs into files, and a proof for each contributor."""
    try:
        settings = kafka_settings(bootstrap_servers)
        servers = settings.bootstrap_servers

        async def write() -> Manifest:
            async with of_kafka(settings.client_options()) as log:
                return await export_epoch(directory, epoch, log, where=servers, now=datetime.now(UTC))

        manifest = asyncio.run(write())
    except MillpondError as error:
        fail(error)
    records = sum(part.records for part in manifest.parts)
    typer.echo(
        f"Exported epoch {epoch}, {records} records, to {directory}. Check it: millpond audit --bundle {directory}"
    )


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


def _show_own(pay: OwnPay, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(own_document(pay), indent=2))
        return
    typer.echo(
        f"Good: epoch {pay.closed.epoch} is signed by {pay.key}, and holds {pay.lines} lines of {pay.contributor}."
    )
    for statement in pay.statements:
        typer.echo(
            f"  {statement.asset}: {statement.amount}, for weight {statement.weight}; {statement.cumulative} in all epochs"
        )


@contextmanager
def _bar(what: str) -> Iterator[tuple[Told, Told]]:
    """How many records have been read of how many, on the terminal; nothing in a pipe."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not Console().is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count), lambda total: bar.update(task, total=total)
