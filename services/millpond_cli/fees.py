"""``millpond fees``: what the chain owes the orchestrator, brought to the treasury by the operator's order."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Final

import typer
from pydantic import ValidationError

from millpond.errors import MillpondError
from millpond.events.chain_revenue import FeesWithdrawn
from millpond.events.envelope import CE_TYPE
from millpond.events.event import Event
from millpond.events.ids import withdrawal_id
from millpond.events.topic import Topic
from millpond.events.topics import CHAIN_REVENUE, TREASURY_SETTLEMENTS
from millpond.events.treasury_settlements import FeesWithdrawalAsked, FeesWithdrawalRefused, FeesWithdrawalSigned
from millpond.identity import WithdrawFees
from millpond.identity.actions import UINT256_MAX
from millpond.settings import KafkaSettings
from millpond_cli.kafka_orders import read_topic
from millpond_cli.orders import WAIT_S, WAIT_S_MAX, Keystore, PasswordFile, fail, operator, order
from millpond_cli.topics import BootstrapServers, kafka_settings

# Under whose key the order stands: its nonce rises there.
SUBJECT: Final = "treasury"
LOOK_S: Final = 0.25

fees = typer.Typer(no_args_is_help=True, help="The orchestrator's claimable fees.")


class NotWithdrawn(MillpondError):
    """treasury does not withdraw the fees ({reason}): {sentence}"""


class NotFinalYet(MillpondError):
    """The withdrawal of {amount} wei is {how_far} after {wait_s:g} s, and not final. treasury goes on by itself: don't
    order it again."""


class NoAmount(MillpondError):
    """{value!r} is no amount: give it in wei, in decimal digits, above 0."""


@fees.callback()
def _root() -> None:
    """What the chain owes the orchestrator."""


@fees.command("withdraw")
def withdraw(
    amount: Annotated[str, typer.Option(metavar="WEI", help="How much: in wei, in decimal digits.")],
    treasury: Annotated[
        str, typer.Option(metavar="ADDRESS", envvar="MILLPOND_CHAIN_TREASURY", help="The treasury's wallet.")
    ],
    keystore: Keystore,
    password_file: PasswordFile,
    wait: Annotated[float, typer.Option(min=0, max=WAIT_S_MAX, metavar="SECONDS", help="How long to wait.")] = WAIT_S,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, for programs.")] = False,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Withdraw fees to the treasury, and wait until that is final. Signed by an operator."""
    try:
        settings, wei = kafka_settings(bootstrap_servers), _wei(amount)
        deadline_s = time.monotonic() + wait
        answer = order(
            operator(keystore, password_file),
            lambda nonce: WithdrawFees(amount=wei, recipient=treasury, nonce=nonce),
            subject=SUBJECT,
            answers=TREASURY_SETTLEMENTS,
            wait_s=wait,
            bootstrap_servers=bootstrap_servers,
        )
        assert isinstance(answer, FeesWithdrawalAsked | FeesWithdrawalRefused), "what treasury says of a command"
        final = asyncio.run(_final(settings, answer.signer, answer.command_nonce, wei, deadline_s, wait))
    except MillpondError as error:
        fail(error)
    facts = {"amount": str(final.amount), "transaction": final.transaction, "block": final.block_number}
    if as_json:
        typer.echo(json.dumps(facts))
    else:
        typer.echo(
            "{amount} wei are in the treasury: transaction {transaction}, final in block {block}.".format(**facts)
        )


def _wei(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < (wei := int(text[:80])) <= UINT256_MAX:
        raise NoAmount(value=text[:80])
    return wei


async def _final(
    settings: KafkaSettings, signer: str, nonce: int, wei: int, deadline_s: float, wait_s: float
) -> FeesWithdrawn:
    withdrawal = withdrawal_id(signer, nonce)
    while True:
        hashes = set()
        for event in await _events(settings, TREASURY_SETTLEMENTS):
            if isinstance(event, FeesWithdrawalRefused) and event.withdrawal == withdrawal:
                raise NotWithdrawn(reason=event.reason, sentence=event.sentence)
            if isinstance(event, FeesWithdrawalSigned) and event.withdrawal == withdrawal:
                hashes.add(event.transaction)
        for event in await _events(settings, CHAIN_REVENUE) if hashes else ():
            if isinstance(event, FeesWithdrawn) and event.finality == "final" and event.transaction in hashes:
                return event
        if time.monotonic() >= deadline_s:
            raise NotFinalYet(amount=wei, how_far="signed" if hashes else "not signed yet", wait_s=wait_s)
        await asyncio.sleep(LOOK_S)


async def _events(settings: KafkaSettings, topic: Topic) -> list[Event]:
    """As far as this version can read them."""
    events: list[Event] = []
    for record in await read_topic(settings, topic):
        model = topic.event_types.get((record.header(CE_TYPE) or b"").decode(errors="replace"))
        if model is None or record.value is None:
            continue
        try:
            events.append(model.model_validate_json(record.value))
        except ValidationError:
            continue
    return events
