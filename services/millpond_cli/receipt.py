"""``millpond receipt``: the pool's countersigning key, and the check of what it has signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from pydantic import TypeAdapter, ValidationError

from millpond.errors import MillpondError
from millpond.events.fields import Hash32
from millpond.events.metering_usage import UsageHeld
from millpond.proofs import Receipt, check_receipt, make_receipt_key
from millpond_agent.membership import read_membership
from millpond_cli.ether import in_ether

# A line and a claim are some kilobytes each; what is larger is something else, and isn't read into memory.
FILE_BYTES_MAX: Final = 2_097_152
_HASH32: Final = TypeAdapter[str](Hash32)

receipt = typer.Typer(no_args_is_help=True, help="What the pool has countersigned.")


class NoReceiptFile(MillpondError):
    """{path} can't be read: {problem}. Give the path of a file in the agent's directory receipts/."""


class KeyUnknown(MillpondError):
    """--key is not given, and {directory} is no agent's directory that would name the pool's key.
    Give --key 0x…: the pool's terms name it as receipt_key.
    """


class KeyMalformed(MillpondError):
    """--key is {given!r}: a public key is 0x and 64 lower-case hex digits. The pool's terms name it as receipt_key."""


@receipt.command("key")
def make_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where the key is to lie, readable by its owner only.")],
) -> None:
    """Make the pool's countersigning key, and print its public half; a key that is there already stays as it is."""
    try:
        typer.echo(make_receipt_key(file).public)
    except MillpondError as error:
        _fail(error)


@receipt.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="As the agent stored it: receipts/<line>.json.")],
    key: Annotated[
        str | None,
        typer.Option(metavar="0x…", help="The pool's public key; unset: the one that this agent joined under."),
    ] = None,
) -> None:
    """Check a receipt with nothing but the file and the pool's public key; exits with 1 at the first thing wrong."""
    try:
        checked = check_receipt(_contents(file), key=_key(file) if key is None else _well_formed(key))
    except MillpondError as error:
        _fail(error)
    for line in _told(checked):
        typer.echo(line)


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            contents = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise NoReceiptFile(path=path, problem=error.strerror) from error
    if len(contents) > FILE_BYTES_MAX:
        raise NoReceiptFile(path=path, problem=f"it has more than {FILE_BYTES_MAX} bytes, which no receipt has")
    return contents


def _key(path: Path) -> str:
    """Of the membership beside the receipt: what the pool said when this machine joined, not what the file says."""
    directory = path.resolve().parent.parent
    membership = read_membership(directory)
    if membership is None:
        raise KeyUnknown(directory=directory)
    return membership.receipt_key


def _well_formed(key: str) -> str:
    try:
        return _HASH32.validate_python(key)
    except ValidationError as error:
        raise KeyMalformed(given=key[:80]) from error


def _told(checked: Receipt) -> list[str]:
    line = checked.line
    price = line.price
    # Exact: a whole number of wei and, where it doesn't come out even, the rest as a fraction.
    wei, rest = divmod(line.quantity * price.wei, price.per_units)
    worth = f"{wei:,} wei" + (f" and {rest}/{price.per_units}" if rest else "")
    verdict = "recorded"
    if isinstance(line, UsageHeld):
        verdict = f"held ({line.reason}): {_printable(line.sentence)}"
    return [
        f"Good: the pool {_printable(checked.pool)!r} has countersigned this line, and the device signed the claim.",
        f"  line         {line.line}, {verdict}",
        f"  job          {line.job}, attempt {line.attempt}, window {line.window}, for gateway {line.gateway}",
        f"  done by      {line.contributor}, device {line.device}",
        f"  quantity     {line.quantity:,} pixels: {line.claimed:,} claimed, {line.counted:,} counted by the pool",
        f"  outputs      {', '.join(f'{each.rendition} {each.frames:,} frames' for each in checked.claim.outputs)}",
        f"  price        {price.wei:,} wei for each {price.per_units:,} pixels",
        f"  comes to     {worth} ({in_ether(wei)} ETH), before the pool's split",
        f"  under terms  {line.terms_hash}",
        f"  result       {line.result}",
    ]


def _printable(text: str) -> str:
    # A file from elsewhere must not steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in text)


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
