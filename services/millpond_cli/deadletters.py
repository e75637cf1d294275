"""``millpond deadletters``: the records that services could not decide, and the operator's orders about them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from eth_account import Account
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millpond.errors import MillpondError
from millpond.events.deadletters import CommandedDeadLetterEvent
from millpond.events.fields import to_rfc3339
from millpond.events.roles import SERVICES
from millpond.identity import Domain, load_keystore
from millpond.settings import KafkaSettings, PoolSettings, load
from millpond_cli.kafka_letters import Letters, Ordered, letters_on
from millpond_cli.kafka_topics import CLUSTER_SECONDS_MAX
from millpond_cli.letters import OPEN, CommandName, Letter, Standing, shown
from millpond_cli.topics import BootstrapServers, kafka_settings

# A pipe has no width; rich would assume 80 columns and fold the topics' names.
PIPE_COLUMNS: Final = 200
# A running service answers within a second; a minute of its own outage is not worth a prompt.
WAIT_S: Final = 20.0
WAIT_S_MAX: Final = 600.0

Answer = TypeVar("Answer")

deadletters = typer.Typer(no_args_is_help=True, help="Records that a service could not decide.")

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help="The service whose dead letter it is.")]
TopicName = Annotated[str, typer.Argument(metavar="TOPIC", help="The topic on which the record stood.")]
Partition = Annotated[int, typer.Argument(metavar="PARTITION", min=0)]
Offset = Annotated[int, typer.Argument(metavar="OFFSET", min=0)]
Reason = Annotated[str, typer.Option(help="Why; it is signed, and stands on the topic for ever.")]
Keystore = Annotated[Path, typer.Option(help="The operator's encrypted key (Web3 Secret Storage, version 3).")]
PasswordFile = Annotated[Path, typer.Option(help="A file whose first line opens it, readable by its owner only.")]
Wait = Annotated[
    float, typer.Option(min=0, max=WAIT_S_MAX, metavar="SECONDS", help="How long to wait for the service's answer.")
]


@deadletters.command("list")
def list_letters(
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Whose; none: of every service that has run.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are closed: readmitted, resumed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Every dead letter: where the record stood, what became of it, and why."""

    async def ask(letters: Letters) -> list[Letter]:
        asked = services or await letters.existing(SERVICES)
        found = [letter for service in asked for letter in (await letters.of(service)).values()]
        return [letter for letter in found if every or letter.state in OPEN]

    found = _run(bootstrap_servers, ask)
    if as_json:
        typer.echo(json.dumps({"dead_letters": [_row(letter) for letter in found]}, indent=2))
    elif found:
        _console().print(_table(found))
    else:
        typer.echo(
            "No dead letters." if every else "No dead letters that wait for anybody; --all shows the closed ones."
        )


@deadletters.command("show")
def show(
    service: ServiceName,
    topic: TopicName,
    partition: Partition,
    offset: Offset,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """One dead letter: its headers, key and value, its hash, and the command that applies."""

    async def ask(letters: Letters) -> tuple[Letter, bytes | None]:
        letter = await letters.find(service, Standing(topic, partition, offset))
        return letter, await letters.value(letter)

    letter, value = _run(bootstrap_servers, ask)
    typer.echo("\n".join(_description(letter, value)))


@deadletters.command("skip")
def skip(
    service: ServiceName,
    topic: TopicName,
    partition: Partition,
    offset: Offset,
    reason: Reason,
    keystore: Keystore,
    password_file: PasswordFile,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Let a stopped partition go on behind the record, which is never applied. Signed by an operator."""
    _order(
        "skip", service, Standing(topic, partition, offset), reason, keystore, password_file, wait, bootstrap_servers
    )


@deadletters.command("readmit")
def readmit(
    service: ServiceName,
    topic: TopicName,
    partition: Partition,
    offset: Offset,
    reason: Reason,
    keystore: Keystore,
    password_file: PasswordFile,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Have a record that was set aside or skipped decided after all, at a new place. Signed by an operator."""
    _order(
        "readmit", service, Standing(topic, partition, offset), reason, keystore, password_file, wait, bootstrap_servers
    )


def _order(
    name: CommandName,
    service: str,
    standing: Standing,
    reason: str,
    keystore: Path,
    password_file: Path,
    wait_s: float,
    bootstrap_servers: str | None,
) -> None:
    try:
        pool = load(PoolSettings)
        key = load_keystore(keystore, password_file)
    except MillpondError as error:
        _fail(error)
    signer = Account.from_key(key).address

    async def ask(letters: Letters) -> Ordered:
        return await letters.order(
            name,
            service,
            standing,
            reason=reason,
            key=key,
            signer=signer,
            domain=Domain(pool=pool.id, chain_id=pool.chain_id),
            wait_s=wait_s,
        )

    _tell(service, standing, _run(bootstrap_servers, ask, seconds_max=CLUSTER_SECONDS_MAX + wait_s), wait_s)


def _tell(service: str, standing: Standing, ordered: Ordered, wait_s: float) -> None:
    answer = ordered.answer
    where = (
        f"{ordered.command.action} of {ordered.command.signer} (nonce {ordered.command.message['nonce']}, {ordered.at})"
    )
    if answer is None:
        typer.secho(
            f"{where} is published, but {service} has not answered within {wait_s:g} s. If it isn't running, it will "
            f"carry the command out when it starts; `millpond deadletters list {service}` tells.",
            fg="yellow",
            err=True,
        )
        raise typer.Exit(1)
    if not isinstance(answer, CommandedDeadLetterEvent):
        typer.secho(f"{service} refused {where}: {answer.sentence}", fg="red", err=True)
        raise typer.Exit(1)
    typer.echo(f"{answer.type_name}: {standing}, by {where}.")


def _row(letter: Letter) -> dict[str, Any]:
    return {
        "service": letter.event.service,
        **letter.standing._asdict(),
        "state": letter.state,
        "reason": letter.event.reason,
        "sentence": letter.event.sentence,
        "since": _time(letter.since_ms),
        "content_hash": letter.event.content_hash,
        "command": letter.command,
    }


def _table(found: Sequence[Letter]) -> Table:
    table = Table("service", "place", "offset", "state", "reason", "sentence", "since", title="Dead letters")
    for letter in found:
        table.add_row(
            escape(letter.event.service),
            escape(f"{letter.standing.topic}[{letter.standing.partition}]"),
            str(letter.standing.offset),
            letter.state,
            letter.event.reason,
            escape(letter.event.sentence),
            _time(letter.since_ms),
        )
    return table


def _description(letter: Letter, value: bytes | None) -> list[str]:
    event = letter.event
    gone = f"{event.value_bytes} bytes, which stood at its old place only, and are gone from there"
    named = " ".join(map(quote, (event.service, *map(str, letter.standing))))
    order = f"millpond deadletters {letter.command} {named} --reason … --keystore … --password-file …"
    return [
        f"{letter.standing} of {event.service}: {letter.state} since {_time(letter.since_ms)}",
        f"why       {event.reason}: {event.sentence}",
        f"hash      {event.content_hash}",
        f"written   {_time(event.timestamp_ms)}",
        *(f"header    {name}: {shown(header)}" for name, header in letter.headers),
        f"key       {shown(letter.key)}",
        f"value     {event.value_bytes} bytes:",
        gone if value is None and letter.value_is_elsewhere else shown(value),
        f"to do     {order}" if letter.command else "to do     nothing",
    ]


def _run(
    bootstrap_servers: str | None,
    ask: Callable[[Letters], Awaitable[Answer]],
    *,
    seconds_max: float = CLUSTER_SECONDS_MAX,
) -> Answer:
    async def asked(settings: KafkaSettings) -> Answer:
        async with letters_on(settings, seconds_max=seconds_max) as letters:
            return await ask(letters)

    try:
        return asyncio.run(asked(kafka_settings(bootstrap_servers)))
    except MillpondError as error:
        _fail(error)


def _time(unix_ms: int) -> str:
    return to_rfc3339(datetime.fromtimestamp(unix_ms / 1000, tz=UTC))


def _console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = PIPE_COLUMNS
    return console


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
