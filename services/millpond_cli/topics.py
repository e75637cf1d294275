"""``millpond topics``: the topics as the table says they are, and a cluster made to hold them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Final, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from millpond.errors import MillpondError
from millpond.events.topic import Topic
from millpond.events.topic_plan import Difference, TopicPlan
from millpond.events.topics import TOPICS, gateway_requests
from millpond.settings import KafkaSettings, load
from millpond_cli.kafka_topics import apply_topics

# A pipe has no width; rich would assume 80 columns and fold the topics' names.
PIPE_COLUMNS: Final = 200

topics = typer.Typer(no_args_is_help=True, help="The pool's topics on Kafka.")

BootstrapServers = Annotated[
    str | None,
    typer.Option(help="Brokers: host:port, separated by commas. Unset: MILLPOND_KAFKA_BOOTSTRAP_SERVERS."),
]
Gateways = Annotated[
    list[str] | None, typer.Option("--gateway", metavar="ID", help="A gateway that asks over Kafka; repeatable.")
]


@topics.command("list")
def list_topics(gateway: Gateways = None) -> None:
    """Every topic of the pool: its key, partitions, owner, readers, retention, and what unreadable bytes do."""
    try:
        wanted = _wanted(gateway)
    except MillpondError as error:
        _fail(error)
    table = Table("topic", "key", "n", "owner", "readers", "kept", "poison", "events", title="Topics")
    for topic in wanted:
        table.add_row(
            topic.name,
            topic.key,
            str(topic.partitions),
            topic.owner,
            ", ".join(topic.readers) or "–",
            _kept(topic.retention),
            topic.poison or "–",
            ", ".join(topic.event_types) or "none yet",
        )
    _console().print(table)


@topics.command("apply")
def apply(
    bootstrap_servers: BootstrapServers = None,
    gateway: Gateways = None,
    replication_factor: Annotated[
        int | None, typer.Option(min=1, help="Replicas of new topics. Unset: one per broker, three at most.")
    ] = None,
) -> None:
    """Create what is missing and lengthen what is too short; refuse, and change nothing, where that would lose records."""
    try:
        plan = asyncio.run(
            apply_topics(kafka_settings(bootstrap_servers), _wanted(gateway), replication_factor=replication_factor)
        )
    except MillpondError as error:
        _fail(error)
    _report(plan)
    if plan.refused:
        raise typer.Exit(1)


def kafka_settings(bootstrap_servers: str | None) -> KafkaSettings:
    """The environment's settings, with the brokers of the command line if it names any. Raises ``SettingsInvalid``."""
    settings = load(KafkaSettings)
    if bootstrap_servers is None:
        return settings
    try:
        return KafkaSettings(bootstrap_servers=bootstrap_servers)
    except ValidationError:
        raise typer.BadParameter(f"{bootstrap_servers!r} is not host:port, or several separated by commas") from None


def _wanted(gateway: list[str] | None) -> list[Topic]:
    return [*TOPICS.values(), *(gateway_requests(gateway_id) for gateway_id in gateway or ())]


def _report(plan: TopicPlan) -> None:
    console = _console()
    if plan.refused:
        console.print(_table("Refused: these can't be changed on a topic that holds records", plan.refused))
        console.print(
            f"Nothing was created or changed. {len(plan.create)} topics are missing. A count of partitions, a policy or "
            "a retention that is longer than wanted stays as it is for ever; more replicas come by "
            "kafka-reassign-partitions.sh. If the topic is empty and new, delete it and apply again."
        )
        return
    if plan.change:
        console.print(_table("Changed", plan.change))
    for topic in plan.create:
        console.print(f"Created {topic.name}: {topic.partitions} partitions, kept {_kept(topic.retention)}.")
    if not plan.create and not plan.change:
        console.print("Nothing to do: the cluster holds every topic as the table says.")


def _table(title: str, differences: Iterable[Difference]) -> Table:
    table = Table("topic", "setting", "wanted", "found", title=title)
    for difference in differences:
        table.add_row(difference.topic, difference.setting, difference.wanted, difference.found)
    return table


def _kept(retention: timedelta | None) -> str:
    return "for ever" if retention is None else f"{retention.days} days"


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    return console


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
