"""``millpond delegate``, ``revoke``, ``leave``: what a contributor signs with his wallet, away from the GPU machine."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import httpx
import typer

from millpond.errors import MillpondError
from millpond.identity import (
    ContributorAction,
    DelegateDevice,
    Domain,
    LeavePool,
    RevokeDevice,
    SignedAction,
    load_keystore,
    sign_action,
)

DAY_S: Final = 86_400
DAYS_MAX: Final = 3_650
ARBITRUM_ONE: Final = 42_161
ASK_S: Final = 30.0
QUOTED_CHARACTERS_MAX: Final = 300

Keystore = Annotated[Path, typer.Option(help="The contributor's encrypted key (Web3 Secret Storage, version 3).")]
PasswordFile = Annotated[Path, typer.Option(help="A file whose first line opens it, readable by its owner only.")]
Device = Annotated[str, typer.Option(metavar="0x…", help="What `millpond agent device` prints on the GPU machine.")]
PoolId = Annotated[str, typer.Option(metavar="ID", help="The pool's name: the signature counts nowhere else.")]
ChainId = Annotated[int, typer.Option(min=1, help="EIP-155 id of the pool's chain; 42161 is Arbitrum One.")]
Nonce = Annotated[
    int | None, typer.Option(min=0, help="Above every one this wallet has signed before; unset: the time in ms.")
]
Edge = Annotated[str, typer.Argument(metavar="URL", help="The pool's address, such as https://pool.example.")]


class NotHandedIn(MillpondError):
    """{url} did not take it: {answer}. Nothing has changed; correct that and run the command again."""


def delegate(
    keystore: Keystore,
    password_file: PasswordFile,
    device: Device,
    pool: PoolId,
    chain_id: ChainId = ARBITRUM_ONE,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="For how long the device may work.")] = 365,
    nonce: Nonce = None,
) -> None:
    """Print a delegation for a device, signed by the wallet: `millpond agent join URL --delegation FILE` takes it."""
    expires_at = int(time.time()) + days * DAY_S
    action = DelegateDevice(device=device, scope="work", expires_at=expires_at, nonce=_nonce(nonce))
    typer.echo(json.dumps(asdict(_signed(action, keystore, password_file, pool, chain_id)), indent=2))


def revoke(
    edge: Edge,
    keystore: Keystore,
    password_file: PasswordFile,
    device: Device,
    pool: PoolId,
    chain_id: ChainId = ARBITRUM_ONE,
    nonce: Nonce = None,
) -> None:
    """Take a device's rights away, at once and for ever."""
    action = RevokeDevice(device=device, nonce=_nonce(nonce))
    _hand_in(f"{edge.rstrip('/')}/revocations", _signed(action, keystore, password_file, pool, chain_id))
    typer.echo(f"The pool has it: {device} may do nothing any more.")


def leave(
    edge: Edge,
    keystore: Keystore,
    password_file: PasswordFile,
    pool: PoolId,
    chain_id: ChainId = ARBITRUM_ONE,
    nonce: Nonce = None,
) -> None:
    """Leave the pool: all devices finish what they run, and get nothing new."""
    signed = _signed(LeavePool(nonce=_nonce(nonce)), keystore, password_file, pool, chain_id)
    _hand_in(f"{edge.rstrip('/')}/departures", signed)
    typer.echo(f"The pool has it: the devices of {signed.signer} finish what they run, and get nothing new.")


def _nonce(given: int | None) -> int:
    # Time, so that two machines of one contributor need not talk to each other.
    return int(time.time() * 1000) if given is None else given


def _signed(action: ContributorAction, keystore: Path, password_file: Path, pool: str, chain_id: int) -> SignedAction:
    try:
        key = load_keystore(keystore, password_file)
        return sign_action(action, domain=Domain(pool=pool, chain_id=chain_id), private_key=key)
    except MillpondError as error:
        _fail(error)


def _hand_in(url: str, signed: SignedAction) -> None:
    try:
        response = httpx.post(url, json=asdict(signed), timeout=ASK_S)
    except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        _fail(NotHandedIn(url=url, answer=str(error) or type(error).__name__))
    if not response.is_success:
        _fail(NotHandedIn(url=url, answer=f"{response.status_code}, {_sentence(response)}"))


def _sentence(response: httpx.Response) -> str:
    try:
        body: Any = response.json()
        return str(body["error"]["sentence"])
    except (ValueError, KeyError, TypeError):  # not edge: a proxy, or another server
        return response.text[:QUOTED_CHARACTERS_MAX]


def _fail(error: MillpondError) -> NoReturn:
    typer.secho(str(error), fg="red", err=True)
    raise typer.Exit(1)
