"""``millpond topics export`` and ``restore``: all records as plain files, and back at the same offsets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from millpond.errors import MillpondError
from millpond.settings import KafkaSettings
from millpond.stream.kafka.log import KafkaLog
from millpond.stream.kafka.publisher import KafkaPublisher
from millpond.stream.kafka.retention import delete_before
from millpond.stream.record import Place
from millpond.stream.recovery.archive import Manifest
from millpond.stream.recovery.archive_export import export_topics
from millpond.stream.recovery.archive_restore import restore_topics
from millpond_cli.kafka_topics import connected
from millpond_cli.topics import BootstrapServers, kafka_settings

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The archive: manifest.json and a file per partition.")]
Told = Callable[[Place, int, int], None]


def export(
    directory: Directory,
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", metavar="NAME", help="Only this one; repeatable. None: all there are."),
    ] = None,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Write every record that the topics hold now into files: exact, with hashes, readable without Millpond."""

    async def write(settings: KafkaSettings, told: Told) -> Manifest:
        topics = topic or await _existing(settings)
        return await export_topics(
            directory, topics, KafkaLog(settings.client_options()), now=datetime.now(UTC), told=told
        )

    manifest = _run(bootstrap_servers, "exporting", write)
    records = sum(part.records for part in manifest.parts)
    typer.echo(f"Exported {records} records of {len(manifest.partitions)} topics to {directory}.")


def restore(directory: Directory, bootstrap_servers: BootstrapServers = None) -> None:
    """Write an archive into a new cluster whose topics have been applied: the same bytes at the same offsets."""

    async def write(settings: KafkaSettings, told: Told) -> Manifest:
        connection = settings.client_options()
        return await restore_topics(
            directory,
            KafkaLog(connection),
            lambda: KafkaPublisher.open(connection),
            lambda beginnings: delete_before(connection, beginnings),
            told,
        )

    manifest = _run(bootstrap_servers, "restoring", write)
    fillers = sum(part.end - part.records for part in manifest.parts)
    records = sum(part.records for part in manifest.parts)
    typer.echo(
        f"Restored {records} records of {len(manifest.partitions)} topics, and {fillers} fillers where none were."
    )


async def _existing(settings: KafkaSettings) -> list[str]:
    async with connected(settings) as cluster:
        return await cluster.names()


def _run(
    bootstrap_servers: str | None, what: str, work: Callable[[KafkaSettings, Told], Awaitable[Manifest]]
) -> Manifest:
    async def run(settings: KafkaSettings) -> Manifest:
        with _bars(what) as told:
            return await work(settings, told)

    try:
        return asyncio.run(run(kafka_settings(bootstrap_servers)))
    except MillpondError as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None


@contextmanager
def _bars(what: str) -> Iterator[Told]:
    """A bar per partition that is under way or done, on the terminal; nothing in a pipe."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not Console().is_terminal) as bars:
        tasks: dict[Place, TaskID] = {}

        def told(place: Place, done: int, total: int) -> None:
            if place not in tasks:
                tasks[place] = bars.add_task(f"{what} {place}", total=total)
            bars.update(tasks[place], completed=done, visible=done < total)

        yield told
