"""``millpond rebuild`` and ``millpond topics resend``: when a service says that its database, or its log, is behind."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Coroutine
from datetime import UTC, datetime
from importlib.metadata import entry_points
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from millpond.errors import MillpondError
from millpond.settings import KafkaSettings, PostgresSettings, load
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.postgres.database import open_database
from millpond.stream.recovery.rebuild_postgres import Replaced, check_stopped, connected, rebuild_database
from millpond.stream.recovery.resend import Resent, resend
from millpond.stream.service import Service
from millpond_cli.topics import BootstrapServers, kafka_settings

ENTRY_POINTS = "millpond.services"

Answer = TypeVar("Answer")

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="The service's name, as its refusal says it.")]
Build = Annotated[
    str | None,
    typer.Option("--build", metavar="MODULE:FUNCTION", help="What builds it, for a service that isn't installed."),
]


class ServiceUnknown(MillpondError):
    """There is no service {name}: installed are {installed}. Name what builds it: --build module:function."""


class ServiceDiffers(MillpondError):
    """{build} builds the service {found}, not {name}."""


def rebuild(
    service: ServiceName,
    build: Build = None,
    anyway: Annotated[
        bool,
        typer.Option(
            "--anyway", help="Also if the database doesn't look behind, or not all of a decision was published."
        ),
    ] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Make a service's database anew from what it has published; the old one is renamed and kept."""
    found, kafka, dsn = _prepare(service, build, bootstrap_servers)
    console = Console()

    async def work() -> Replaced:
        with console.status(f"rebuilding {service}") as status:
            return await rebuild_database(
                found,
                dsn,
                KafkaLog(kafka.client_options()),
                now=datetime.now(UTC),
                told=lambda what, count: status.update(f"{what} {count} records"),
                anyway=anyway,
            )

    _report(console, service, found, _run(work()))


def resend_tail(service: ServiceName, build: Build = None, bootstrap_servers: BootstrapServers = None) -> None:
    """Complete a log that lost its tail: send again, from the service's outbox, what it had acknowledged and lost."""
    found, kafka, dsn = _prepare(service, build, bootstrap_servers)
    connection_options = kafka.client_options()

    async def work() -> Resent:
        async with connected(dsn) as connection:
            await check_stopped(connection, service)
        database = await open_database(dsn, service, service_schema=found.store.schema, connections_max=2)
        try:
            return await resend(
                found, database, KafkaLog(connection_options), lambda: KafkaPublisher.open(connection_options)
            )
        finally:
            await database.close()

    resent = _run(work())
    for place, count in resent.records.items():
        typer.echo(f"{place}: sent {count} records again.")
    for moved in resent.moved:
        typer.secho(str(moved), fg="red", err=True)
    if not resent.records:
        typer.echo(f"Nothing is missing: every record of {service} that was acknowledged is on the log.")
    if resent.moved:
        raise typer.Exit(1)


def find_service(name: str, build: str | None) -> Service[Any]:
    """The service that ``build`` makes, or that an installed package offers under its name. Raises ``ServiceUnknown``."""
    if build is None:
        installed = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINTS)}
        if name not in installed:
            raise ServiceUnknown(name=name, installed=", ".join(sorted(installed)) or "none")
        build = installed[name]
    module, _, function = build.partition(":")
    try:
        found: Service[Any] = getattr(importlib.import_module(module), function)()
    except (ImportError, AttributeError, ValueError) as cause:
        raise typer.BadParameter(f"{build!r} is not module:function that builds a service: {cause}") from cause
    if found.name != name:
        raise ServiceDiffers(build=build, found=found.name, name=name)
    return found


def _prepare(name: str, build: str | None, bootstrap_servers: str | None) -> tuple[Service[Any], KafkaSettings, str]:
    try:
        return (
            find_service(name, build),
            kafka_settings(bootstrap_servers),
            load(PostgresSettings).dsn.get_secret_value(),
        )
    except MillpondError as error:
        _fail(error)


def _run(work: Coroutine[Any, Any, Answer]) -> Answer:
    try:
        return asyncio.run(work)
    except MillpondError as error:
        _fail(error)


def _report(console: Console, name: str, service: Service[Any], replaced: Replaced) -> None:
    rebuilt = replaced.rebuilt
    table = Table(
        "input", "goes on at", title=f"{name}: {rebuilt.records} records folded, up to number {rebuilt.highest}"
    )
    for place, offset in rebuilt.positions.items():
        table.add_row(str(place), str(offset))
    console.print(table)
    console.print(
        f"{rebuilt.items} items and {rebuilt.letters} events about dead letters are known again. "
        + ("All inputs are read anew from the beginning. " if service.rebuild_reads_from == "beginning" else "")
        + (f"The old schema is kept as {replaced.kept_as}." if replaced.kept_as else "There was no schema before.")
    )
    for tear in rebuilt.torn:
        console.print(f"Decided and never published, and lost with the database: {tear}.")
    if rebuilt.unlike:
        console.print(f"{rebuilt.unlike} records would be sent with other bytes by this version: never resend them.")


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
