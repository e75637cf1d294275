"""``millpond audit`` and ``millpond export``: the same wei from the same topics, or the first that differs."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from millpond.errors import MillpondError
from millpond.settings import KafkaSettings
from millpond.stream.recovery.archive import Manifest
from millpond_cli.audit import LEVELS
from millpond_cli.audit.contributor import PROOFS, OwnPay, audit_contributor, own_document
from millpond_cli.audit.difference import Difference
from millpond_cli.topics import BootstrapServers, kafka_settings

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
        # Imported when it is needed: a contributor's own pay is there before Kafka's client would be.
        from millpond_cli.audit.whole import audit_all

        audit_all(
            epoch=epoch,
            contributor=contributor,
            bundle=bundle,
            rpc=rpc,
            level=level,
            key=key,
            as_json=as_json,
            bootstrap_servers=bootstrap_servers,
        )
    except Difference as found:
        if as_json:
            typer.echo(
                json.dumps({"audit": "differs", **{name: str(fact) for name, fact in found.facts.items()}}, indent=2)
            )
        _fail(found)
    except MillpondError as error:
        _fail(error)


def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new directory: plain files with their hashes.")],
    epoch: Annotated[int, typer.Option("--epoch", min=0, metavar="N", help="Which.")],
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Write all that the audit of an epoch needs into files, and a proof for each contributor."""
    from millpond_cli.audit.export import export_epoch
    from millpond_cli.audit.logs import of_kafka

    async def write(settings: KafkaSettings) -> Manifest:
        async with of_kafka(settings.client_options()) as log:
            return await export_epoch(directory, epoch, log, where=settings.bootstrap_servers, now=datetime.now(UTC))

    try:
        manifest = asyncio.run(write(kafka_settings(bootstrap_servers)))
    except MillpondError as error:
        _fail(error)
    records = sum(part.records for part in manifest.parts)
    typer.echo(
        f"Exported epoch {epoch}, {records} records, to {directory}. Check it: millpond audit --bundle {directory}"
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


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
