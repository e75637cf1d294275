"""``millpond payouts``: what a contributor has earned, what he is paid in which transaction, and what waits for what."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from eth_account import Account
from pydantic import BaseModel, ConfigDict, ValidationError

from millpond.errors import MillpondError
from millpond.events.event import Event
from millpond.events.rewards_payouts import PayoutOrdered, PayoutWithdrawn
from millpond.events.rewards_statements import StatementIssued
from millpond.events.treasury_settlements import PayoutHeld, PayoutSettled
from millpond.identity import PrivateKey, load_keystore
from millpond_cli.contributor_feed import ContributorFeed
from millpond_cli.ether import amount_of

KINDS = {kind.type_name: kind for kind in (StatementIssued, PayoutOrdered, PayoutWithdrawn, PayoutHeld, PayoutSettled)}


class NotAPayoutEvent(MillpondError):
    """The pool sent an event {name} that this version can't read: {problem}. Upgrade millpond, then run the command again."""


class CursorFileUnreadable(MillpondError):
    """--cursor-file {path} can't be used: {problem}. Name another file, or move this one away to see all from the beginning."""


class _Seen(BaseModel):
    """What the file holds. A cursor is worth nothing at another pool, or for another wallet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: str
    contributor: str
    cursor: str


class _Said(BaseModel):
    epoch: int
    event: dict[str, Any]


def payouts(
    url: Annotated[str, typer.Argument(metavar="URL", help="The pool's address, such as https://pool.example.")],
    keystore: Annotated[Path, typer.Option(help="The contributor's encrypted key (Web3 Secret Storage, version 3).")],
    password_file: Annotated[Path, typer.Option(help="A file whose first line opens it, readable by its owner only.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on, and print what is new, until Ctrl-C.")] = False,
    cursor_file: Annotated[
        Path | None,
        typer.Option(help="Remember here what was printed, and print only what is new; without: from the beginning."),
    ] = None,
) -> None:
    """What a contributor has earned, and how he is paid: from the pool's own feed.

    A line for each statement, payout order, payment, and each reason to wait. Amounts are exact.
    """
    try:
        key = load_keystore(keystore, password_file)
        asyncio.run(_follow(url, key, follow, cursor_file))
    except MillpondError as error:
        _fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _follow(url: str, key: PrivateKey, follow: bool, cursor_file: Path | None) -> None:
    pool, contributor = url.rstrip("/"), str(Account.from_key(bytes(key)).address)
    cursor = _remembered(cursor_file, pool, contributor) if cursor_file else None
    async with ContributorFeed.http(url) as http:
        feed = ContributorFeed(http, key, cursor, _say_break)
        try:
            async for event in feed.events(for_ever=follow):
                for line in lines(event.name, event.data):
                    typer.echo(line)
                # Behind the line: who is killed between the two sees it once more, and misses nothing.
                if cursor_file:
                    _remember(cursor_file, _Seen(pool=pool, contributor=contributor, cursor=event.id))
        finally:
            await feed.sign_out()


def lines(name: str, data: str) -> Iterator[str]:
    """One event for people: a line, and below a statement one for each thing to know about it.

    Raises ``NotAPayoutEvent``.
    """
    try:
        said = _Said.model_validate_json(data)
        event = KINDS[name].model_validate_json(json.dumps(said.event))
    except KeyError as unknown:
        raise NotAPayoutEvent(name=ascii(name[:64]), problem="it is of a newer kind") from unknown
    except ValidationError as invalid:
        raise NotAPayoutEvent(name=name, problem=invalid.errors()[0]["msg"]) from invalid
    yield f"epoch {said.epoch}  {_printable(_line(event))}"
    if isinstance(event, StatementIssued):
        for held in event.held:
            share = amount_of(held.set_aside, event.asset)
            yield _printable(f"  held: {held.lines} lines ({held.reason}), {share} set aside until they are decided")
        for adjustment in event.adjustments:
            sign = "-" if adjustment.amount < 0 else "+"
            change = f"{sign}{amount_of(abs(adjustment.amount), event.asset)}"
            yield _printable(f"  corrected: {change} ({adjustment.reason}): {adjustment.sentence}")
        for remark in event.remarks:
            yield _printable(f"  {remark.reason}: {remark.sentence}")


def _line(event: Event) -> str:
    match event:
        case StatementIssued(amount=amount, cumulative=cumulative, asset=asset):
            return f"earned {amount_of(amount, asset)}; {amount_of(cumulative, asset)} in all epochs"
        case PayoutOrdered(amount=amount, asset=asset, recipient=recipient):
            return f"ordered {amount_of(amount, asset)} to {recipient}"
        case PayoutWithdrawn(reason=reason, sentence=sentence):
            return f"order taken back ({reason}): {sentence}"
        case PayoutHeld(reason=reason, sentence=sentence):
            return f"waits ({reason}): {sentence}"
        case PayoutSettled(outcome="paid", amount=amount, asset=asset, transaction=transaction):
            return f"paid {amount_of(amount, asset)} in transaction {transaction}"
        case PayoutSettled(outcome=outcome, amount=amount, asset=asset, reason=reason, sentence=sentence):
            where = f" in transaction {event.transaction}" if event.transaction else ""
            return f"not paid: {amount_of(amount, asset)}{where} {outcome} ({reason}): {sentence}"
        case _:
            raise AssertionError(event)


def _remembered(path: Path, pool: str, contributor: str) -> str | None:
    try:
        seen = _Seen.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        problem = error.strerror if isinstance(error, OSError) else "it is not what `millpond payouts` has written"
        raise CursorFileUnreadable(path=path, problem=problem) from error
    if (seen.pool, seen.contributor) != (pool, contributor):
        problem = f"it is about {seen.contributor} at {seen.pool}, and this is {contributor} at {pool}"
        raise CursorFileUnreadable(path=path, problem=problem)
    return seen.cursor


def _remember(path: Path, seen: _Seen) -> None:
    """All or nothing: half a cursor would be none."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(seen.model_dump_json() + "\n")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise CursorFileUnreadable(path=path, problem=error.strerror) from error


def _printable(text: str) -> str:
    # What comes from elsewhere must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)


def _say_break(cause: str) -> None:
    typer.secho(f"The pool is away: {_printable(cause)}. It is tried again.", fg="yellow", err=True)


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
