"""``millpond gateway`` and ``millpond contributor``: whom the operator lets in, and out."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import Annotated, Final

import typer
from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address

from millpond.errors import MillpondError
from millpond.events.registry_gateways import GatewayAdmitted
from millpond.events.topics import REGISTRY_GATEWAYS, REGISTRY_MEMBERS, gateway_requests
from millpond.identity import AdmitGateway, ApproveContributor, SuspendContributor, SuspendGateway
from millpond_cli.kafka_orders import Order
from millpond_cli.orders import WAIT_S, Keystore, NotAnswered, PasswordFile, Wait, fail, operator, order
from millpond_cli.topics import BootstrapServers

DAY_S: Final = 86_400
DAYS_MAX: Final = 3_650
# 43 characters: the key can't be guessed, so its hash tells nobody what it was.
KEY_BYTES: Final = 32

gateway = typer.Typer(no_args_is_help=True, help="Who may send jobs.")
contributor = typer.Typer(no_args_is_help=True, help="Who may lend GPUs.")

GatewayId = Annotated[str, typer.Argument(metavar="ID", help="1 to 64 of a-z, 0-9 and -, not - first.")]
Address = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="The contributor's wallet, with its checksum (EIP-55).")
]
Reason = Annotated[str, typer.Option(help="Why, for whom it concerns; it is signed, and stands on the topic for ever.")]


@gateway.command("admit")
def admit(
    gateway_id: GatewayId,
    keystore: Keystore,
    password_file: PasswordFile,
    days: Annotated[int, typer.Option(min=1, max=DAYS_MAX, help="For how long the key is valid.")] = 365,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Let a gateway send jobs, with a new API key, shown once. An earlier key of the gateway is no longer valid."""
    api_key = f"mpk_{gateway_id}_{secrets.token_urlsafe(KEY_BYTES)}"
    key_hash = "0x" + hashlib.sha256(api_key.encode()).hexdigest()
    expires_at = int(time.time()) + days * DAY_S

    def what(nonce: int) -> AdmitGateway:
        return AdmitGateway(gateway=gateway_id, key_hash=key_hash, expires_at=expires_at, nonce=nonce)

    try:
        gateway_requests(gateway_id)  # its name must do as one
        by = operator(keystore, password_file)
        answer = order(
            by, what, subject=gateway_id, answers=REGISTRY_GATEWAYS, wait_s=wait, bootstrap_servers=bootstrap_servers
        )
    except NotAnswered as error:
        # The order stands, and nobody else knows the key.
        _show_key(api_key)
        fail(error)
    except MillpondError as error:
        fail(error)
    assert isinstance(answer, GatewayAdmitted)
    typer.echo(f"{gateway_id} may send jobs until {answer.expires_at:%Y-%m-%d}.")
    _show_key(api_key)


def _show_key(api_key: str) -> None:
    typer.echo(f"Its API key, which is shown this once and kept nowhere:\n\n    {api_key}\n")


@gateway.command("suspend")
def suspend_gateway(
    gateway_id: GatewayId,
    keystore: Keystore,
    password_file: PasswordFile,
    reason: Reason,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Take no more jobs of a gateway; what was accepted is finished."""

    def what(nonce: int) -> SuspendGateway:
        return SuspendGateway(gateway=gateway_id, reason=reason, nonce=nonce)

    try:
        by = operator(keystore, password_file)
        order(by, what, subject=gateway_id, answers=REGISTRY_GATEWAYS, wait_s=wait, bootstrap_servers=bootstrap_servers)
    except MillpondError as error:
        fail(error)
    typer.echo(f"{gateway_id} is suspended: no new jobs of it are taken.")


@contributor.command("approve")
def approve(
    address: Address,
    keystore: Keystore,
    password_file: PasswordFile,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Let a contributor in who waits, or back in after a suspension; also before he asks."""
    _about_contributor(
        address,
        lambda nonce: ApproveContributor(contributor=address, nonce=nonce),
        keystore,
        password_file,
        wait,
        bootstrap_servers,
    )
    typer.echo(f"{address} is in: devices that were waiting are registered now.")


@contributor.command("suspend")
def suspend(
    address: Address,
    keystore: Keystore,
    password_file: PasswordFile,
    reason: Reason,
    wait: Wait = WAIT_S,
    bootstrap_servers: BootstrapServers = None,
) -> None:
    """Give a contributor's devices no new work, until he is approved again. What was earned stays earned."""
    _about_contributor(
        address,
        lambda nonce: SuspendContributor(contributor=address, reason=reason, nonce=nonce),
        keystore,
        password_file,
        wait,
        bootstrap_servers,
    )
    typer.echo(f"{address} is suspended: his devices finish what they run, and get nothing new.")


def _about_contributor(
    address: str,
    what: Order,
    keystore: Keystore,
    password_file: PasswordFile,
    wait_s: float,
    bootstrap_servers: str | None,
) -> None:
    _check_address(address)
    try:
        by = operator(keystore, password_file)
        order(by, what, subject=address, answers=REGISTRY_MEMBERS, wait_s=wait_s, bootstrap_servers=bootstrap_servers)
    except MillpondError as error:
        fail(error)


def _check_address(address: str) -> None:
    if is_checksum_address(address):
        return
    if not is_hex_address(address) or not address.startswith("0x"):
        raise typer.BadParameter(f"{address!r} is no address: 0x and 40 hex digits")
    # A checksum that is offered unasked would turn a typing error into somebody else's address.
    hint = f"; with it: {to_checksum_address(address)}" if address[2:].islower() else ""
    raise typer.BadParameter(f"{address} lacks a valid checksum (EIP-55){hint}")
