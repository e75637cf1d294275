"""Sign an action with a wallet's key (EIP-712), and find out who signed one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_keys.exceptions import BadSignature
from eth_utils.address import is_checksum_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError as KeyValidationError

from millpond.identity.actions import Action, message_of, parse_action, struct_fields
from millpond.identity.errors import (
    MalformedAction,
    MalformedSignature,
    NonceTooLow,
    SignerNotAllowed,
    WrongSignature,
    quoted,
)

DOMAIN_NAME: Final = "Millpond"
DOMAIN_VERSION: Final = "1"

# The order of secp256k1's group. With s, n - s verifies too: only the lower half is accepted (EIP-2).
SECP256K1_N: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
S_MAX: Final = SECP256K1_N // 2


@dataclass(frozen=True)
class Domain:
    """Where a signature counts: one pool on one chain. It is worth nothing in any other."""

    pool: str
    chain_id: int


class Signed(Protocol):
    """What ``verify_action`` reads: ``SignedAction``, or an event with the same fields."""

    @property
    def signer(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def message(self) -> Mapping[str, str | int]: ...
    @property
    def signature(self) -> str: ...


@dataclass(frozen=True)
class SignedAction:
    """An action as it travels: ``signer`` is a checksum address, ``signature`` 65 bytes r, s, v as 0x hex."""

    signer: str
    action: str
    message: Mapping[str, str | int]
    signature: str


def typed_data(action: Action, *, domain: Domain) -> dict[str, Any]:
    """The EIP-712 document of ``action``, as JSON can hold it: what a wallet shows for ``eth_signTypedData_v4``.

    Raises ``MalformedAction``.
    """
    name = type(action).__name__
    return {
        "types": {
            "EIP712Domain": [
                {"name": "name", "type": "string"},
                {"name": "version", "type": "string"},
                {"name": "chainId", "type": "uint256"},
                {"name": "salt", "type": "bytes32"},
            ],
            name: [{"name": field, "type": type_} for field, type_ in struct_fields(type(action)).items()],
        },
        "primaryType": name,
        "domain": {
            "name": DOMAIN_NAME,
            "version": DOMAIN_VERSION,
            "chainId": domain.chain_id,
            "salt": "0x" + keccak(text=domain.pool).hex(),
        },
        # Numbers as decimal strings: a wallet written in JavaScript would round those above 2**53.
        "message": {field: str(value) for field, value in message_of(action).items()},
    }


def sign_action(action: Action, *, domain: Domain, private_key: bytes | str) -> SignedAction:
    """Signs ``action`` for ``domain``; the same input gives the same signature. Raises ``MalformedAction``."""
    account = Account.from_key(private_key)
    signature = account.sign_message(_signable(action, domain)).signature
    return SignedAction(
        signer=account.address,
        action=type(action).__name__,
        message=message_of(action),
        signature="0x" + bytes(signature).hex(),
    )


def verify_action(signed: Signed, *, domain: Domain, signers: frozenset[str]) -> Action:
    """The action, if one of ``signers`` (checksum addresses) signed exactly it for exactly ``domain``.

    Raises an ``ActionRefused``: what costs nothing to find out comes first, so a stranger can't make us compute.
    Whether the nonce is new is the caller's to check, with ``check_nonce``.
    """
    action = parse_action(signed.action, signed.message)
    if not is_checksum_address(signed.signer):
        problem = "a signer is an address with its checksum (EIP-55)"
        raise MalformedAction(field="signer", action=signed.action, value=quoted(signed.signer), problem=problem)
    if signed.signer not in signers:
        raise SignerNotAllowed(signer=signed.signer)
    signature = signature_bytes(signed.signature)
    recovered = recover(_signable(action, domain), signature)
    if recovered != signed.signer:
        raise WrongSignature(action=signed.action, recovered=recovered or "nobody", signer=signed.signer)
    return action


def check_nonce(last: int | None, nonce: int) -> None:
    """Accepts any nonce above ``last``, the highest accepted of this signer, topic and key. Raises ``NonceTooLow``."""
    if last is not None and nonce <= last:
        raise NonceTooLow(nonce=nonce, last=last)


def _signable(action: Action, domain: Domain) -> SignableMessage:
    return encode_typed_data(full_message=typed_data(action, domain=domain))


def signature_bytes(signature: str) -> bytes:
    """r, s, v. Raises ``MalformedSignature``."""
    # One spelling of one signature: otherwise a copy with other bytes would look like a conflicting command.
    if not re.fullmatch("0x[0-9a-f]{130}", signature):
        raise MalformedSignature(value=quoted(signature), problem="not 65 bytes in lower-case 0x hex")
    raw = bytes.fromhex(signature[2:])
    if int.from_bytes(raw[32:64], "big") > S_MAX:
        raise MalformedSignature(value=signature, problem="s lies in the upper half")
    if raw[64] not in (27, 28):
        raise MalformedSignature(value=signature, problem=f"v is {raw[64]}")
    return raw


def recover(signable: SignableMessage, signature: bytes) -> str | None:
    """Who signed it; None if nobody can have."""
    try:
        return str(Account.recover_message(signable, signature=signature))
    except (BadSignature, KeyValidationError):  # r or s is no point or out of range: nobody's signature
        return None
