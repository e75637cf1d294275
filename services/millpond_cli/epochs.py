"""``millpond epoch``: an epoch's end, by the operator's order; and what came of each."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from millpond.errors import MillpondError
from millpond.events.envelope import CE_TYPE
from millpond.events.event import Event
from millpond.events.rewards_epochs import CloseRefused, EpochClosed, EpochWaits, PayoutsReleased
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topic import Topic
from millpond.events.topics import REWARDS_EPOCHS, REWARDS_PAYOUTS, REWARDS_STATEMENTS
from millpond.identity import CloseEpoch
from millpond.settings import KafkaSettings
from millpond_cli.kafka_orders import read_topic
from millpond_cli.orders import WAIT_S, Keystore, PasswordFile, Wait, fail, operator, order
from millpond_cli.topics import BootstrapServers, kafka_settings

# Under whose key the order stands: its nonce rises there.
SUBJECT: Final = "rewards"
LOOK_S: Final = 0.25
# A pipe has no width; rich would assume 80 columns and fold the addresses.
PIPE_COLUMNS: Final = 160

AnEvent = TypeVar("AnEvent", bound=Event)

epoch = typer.Typer(no_args_is_help=True, help="What is owed to whom, epoch by epoch; and an epoch's end.")

Number = Annotated[int | None, typer.Option("--epoch", min=0, metavar="N", help="Which.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document, for programs; amounts are strings.")]


class NotEnded(MillpondError):
    """rewards does not end the epoch ({reason}): {sentence}"""


class NotClosedYet(MillpondError):
    """Epoch {epoch} is ending, but it is not closed after {wait_s:g} s. {why}Don't order it again; `millpond epoch show`
    tells when it is."""


class NoEpoch(MillpondError):
    """{what} on {servers}. `millpond epoch close` ends the one that is open."""


@dataclass
class Epochs:
    """What rewards has said, by epoch."""

    closed: dict[int, EpochClosed] = field(default_factory=dict)
    waits: list[EpochWaits] = field(default_factory=list)
    released: set[int] = field(default_factory=set)

    @property
    def open(self) -> int:
        return max(self.closed, default=-1) + 1


@epoch.command("close")
def close(
    keystore: Keystore,
    password_file: PasswordFile,
    number: Number = None,
    wait: Wait = WAIT_S,
    as_json: AsJson = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """End the open epoch, wait until it is closed, and show what came of it. Signed by an operator."""
    try:
        settings = kafka_settings(bootstrap_servers)
        deadline_s = time.monotonic() + wait
        wanted = asyncio.run(_epochs(settings)).open if number is None else number
        answer = order(
            operator(keystore, password_file),
            lambda nonce: CloseEpoch(epoch=wanted, nonce=nonce),
            subject=SUBJECT,
            answers=REWARDS_EPOCHS,
            wait_s=wait,
            bootstrap_servers=bootstrap_servers,
        )
        if isinstance(answer, CloseRefused):
            raise NotEnded(reason=answer.reason, sentence=answer.sentence)
        asyncio.run(_closed(settings, wanted, deadline_s, wait))
        _show(settings, wanted, as_json)
    except MillpondError as error:
        fail(error)


@epoch.command("show")
def show(number: Number = None, as_json: AsJson = False, bootstrap_servers: BootstrapServers = None) -> None:
    """Show a closed epoch (the last, unless --epoch says which): its money, its statements, its orders."""
    try:
        _show(kafka_settings(bootstrap_servers), number, as_json)
    except MillpondError as error:
        fail(error)


async def _closed(settings: KafkaSettings, number: int, deadline_s: float, wait_s: float) -> None:
    while number not in (found := await _epochs(settings)).closed:
        if time.monotonic() >= deadline_s:
            why = next((f"{each.sentence} " for each in reversed(found.waits) if each.epoch == number), "")
            raise NotClosedYet(epoch=number, wait_s=wait_s, why=why)
        await asyncio.sleep(LOOK_S)


async def _epochs(settings: KafkaSettings) -> Epochs:
    found = Epochs()
    for event in await _events(settings, REWARDS_EPOCHS, Event):
        match event:
            case EpochClosed():
                found.closed[event.epoch] = event
            case EpochWaits():
                found.waits.append(event)
            case PayoutsReleased():
                found.released.add(event.epoch)
    return found


async def _events(settings: KafkaSettings, topic: Topic, kind: type[AnEvent]) -> list[AnEvent]:
    """Those of a kind, as far as this version can read them."""
    events = []
    for record in await read_topic(settings, topic):
        model = topic.event_types.get((record.header(CE_TYPE) or b"").decode(errors="replace"))
        if model is None or record.value is None or not issubclass(model, kind):
            continue
        try:
            events.append(model.model_validate_json(record.value))
        except ValidationError:
            continue
    return events


def _show(settings: KafkaSettings, number: int | None, as_json: bool) -> None:
    found = asyncio.run(_epochs(settings))
    if not found.closed or (number is not None and number not in found.closed):
        what = "No epoch has been closed yet" if number is None else f"Epoch {number} has not been closed yet"
        raise NoEpoch(what=what, servers=settings.bootstrap_servers)
    closed = found.closed[max(found.closed) if number is None else number]
    statements = asyncio.run(_events(settings, REWARDS_STATEMENTS, StatementIssued))
    orders = asyncio.run(_events(settings, REWARDS_PAYOUTS, PayoutOrdered))
    of_it = [each for each in statements if each.epoch == closed.epoch]
    paying = {(each.contributor, each.asset): each for each in orders if closed.epoch in each.epochs}
    if as_json:
        typer.echo(json.dumps(_document(found, closed, of_it, paying.values()), indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_COLUMNS)
    console.print(_heading(found, closed), highlight=False)
    console.print(_table(of_it, paying))


def _document(
    found: Epochs, closed: EpochClosed, statements: Iterable[StatementIssued], orders: Iterable[PayoutOrdered]
) -> dict[str, Any]:
    return {
        "closed": closed.model_dump(mode="json"),
        "statements": [each.model_dump(mode="json") for each in statements],
        "orders": [each.model_dump(mode="json", exclude={"proof"}) for each in orders],
        "released": closed.epoch in found.released,
        "waits": [each.model_dump(mode="json") for each in found.waits if each.epoch == closed.epoch],
    }


def _heading(found: Epochs, closed: EpochClosed) -> str:
    lines = sum(head.size for head in closed.lines)
    rows = [
        f"Epoch {closed.epoch}, closed {closed.as_of:%Y-%m-%d %H:%M:%S} UTC: {lines} usage lines, root {closed.root}"
    ]
    for pot in closed.pots:
        rows.append(
            f"{pot.asset}: revenue {pot.revenue} + carried in {pot.carried_in} = contributors {pot.contributors} "
            f"+ operator {pot.operator} + carried {pot.carried_out} (set aside {pot.set_aside})"
        )
    if closed.work_carried:
        rows.append("There was no income: the work counts in the next epoch.")
    if closed.epoch not in found.released:
        rows.append(f"Payable from {closed.payable_from:%Y-%m-%d %H:%M:%S} UTC, when the challenge window is over.")
    rows += [f"Waits ({each.step}): {each.sentence}" for each in found.waits if each.epoch == closed.epoch]
    return "\n".join(rows)


def _table(statements: Iterable[StatementIssued], paying: dict[tuple[str, str], PayoutOrdered]) -> Table:
    table = Table("contributor", "lines", "units", "held", "amount", "so far", "payout")
    for each in sorted(statements, key=lambda statement: -statement.amount):
        order_ = paying.get((each.contributor, each.asset))
        table.add_row(
            each.contributor,
            str(sum(work.lines for work in each.work)),
            str(sum(work.units for work in each.work)),
            str(sum(held.units for held in each.held)),
            str(each.amount),
            str(each.cumulative),
            f"{order_.payout} ({order_.amount})" if order_ else "",
        )
    return table
