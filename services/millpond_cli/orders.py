"""What the operator's commands to a service have in common: who signs, what is told of the answer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from eth_account import Account

from millpond.errors import MillpondError
from millpond.events.deadletters import DeadLettered
from millpond.events.event import Event
from millpond.events.topic import Topic
from millpond.identity import Domain, load_keystore
from millpond.settings import PoolSettings, load
from millpond_cli.kafka_orders import Given, Operator, Order, give
from millpond_cli.topics import kafka_settings

# A running service answers within a second; a minute of its own outage is not worth a prompt.
WAIT_S: Final = 20.0
WAIT_S_MAX: Final = 600.0

Keystore = Annotated[Path, typer.Option(help="The operator's encrypted key (Web3 Secret Storage, version 3).")]
PasswordFile = Annotated[Path, typer.Option(help="A file whose first line opens it, readable by its owner only.")]
Wait = Annotated[float, typer.Option(min=0, max=WAIT_S_MAX, metavar="SECONDS", help="How long to wait for the answer.")]


class OrderNotTaken(MillpondError):
    """{service} refused {action} of {signer} ({where}): {sentence}"""


class NotAnswered(MillpondError):
    """{action} of {signer} is published ({where}), but {service} has not answered within {wait_s:g} s. If it isn't
    running, it will carry the order out when it starts; don't give it again.
    """


def operator(keystore: Path, password_file: Path) -> Operator:
    """Raises ``SettingsInvalid``, ``KeyUnavailable``."""
    pool = load(PoolSettings)
    key = load_keystore(keystore, password_file)
    return Operator(key, Account.from_key(key).address, Domain(pool=pool.id, chain_id=pool.chain_id))


def order(
    by: Operator, what: Order, *, subject: str, answers: Topic, wait_s: float, bootstrap_servers: str | None
) -> Event:
    """The answer of the service that owns ``answers``. Raises ``OrderNotTaken``, ``NotAnswered``, and what ``give`` raises."""
    settings = kafka_settings(bootstrap_servers)
    given = asyncio.run(give(settings, by, what, subject=subject, answers=answers, wait_s=wait_s))
    facts = {
        "service": answers.owner,
        "action": given.command.action,
        "signer": given.command.signer,
        "where": _where(given),
    }
    if given.answer is None:
        raise NotAnswered(**facts, wait_s=wait_s)
    if isinstance(given.answer, DeadLettered):
        raise OrderNotTaken(**facts, sentence=given.answer.sentence)
    return given.answer


def fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="yellow" if isinstance(error, NotAnswered) else "red", err=True)
    raise typer.Exit(1)


def _where(given: Given) -> str:
    return f"nonce {given.command.message['nonce']}, {given.place}@{given.offset}"
