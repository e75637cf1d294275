"""The actions that operators and contributors sign, and the EIP-712 struct type that each of them is.

A new action is a dataclass, and its name in ``Action``. A published one is never edited: its signatures would no longer
verify.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Final, get_args, get_type_hints

from eth_utils.address import is_checksum_address

from millpond.identity.errors import MalformedAction, UnknownAction, quoted

# A field's EIP-712 type is the annotation of its Python type: the class is the struct.
Text = Annotated[str, "string"]
Bytes32 = Annotated[str, "bytes32"]  # "0x" and 64 lower-case hex digits
Uint256 = Annotated[int, "uint256"]
Address = Annotated[str, "address"]  # with its checksum (EIP-55)

UINT256_MAX: Final = 2**256 - 1


@dataclass(frozen=True, kw_only=True)
class SkipRecord:
    """Go on behind a record that stopped its partition; it is never applied.

    ``content_hash`` is that of the record (``millpond.stream.record``): nobody skips another one than he looked at.
    """

    service: Text
    topic: Text
    partition: Uint256
    offset: Uint256
    content_hash: Bytes32
    reason: Text
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class ReadmitRecord:
    """Decide a record that was skipped or set aside; ``topic``, ``partition`` and ``offset`` are those it first had."""

    service: Text
    topic: Text
    partition: Uint256
    offset: Uint256
    content_hash: Bytes32
    reason: Text
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class PublishTerms:
    """The pool's terms from their version's epoch on. ``document`` is their canonical JSON (``millpond.terms``)."""

    version: Uint256
    document: Text
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class ApproveContributor:
    """Let a contributor in who waits for approval, or back in after a suspension."""

    contributor: Address
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class SuspendContributor:
    """No new work for this contributor's devices. What was earned stays earned."""

    contributor: Address
    reason: Text
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class AdmitGateway:
    """Let a gateway send jobs, with the API key whose SHA-256 is ``key_hash``, until ``expires_at`` (Unix seconds).

    Given again for the same gateway, the new key replaces the old one.
    """

    gateway: Text
    key_hash: Bytes32
    expires_at: Uint256
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class SuspendGateway:
    """Take no more jobs of this gateway; what was accepted is finished."""

    gateway: Text
    reason: Text
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class CloseEpoch:
    """End this epoch now. It must be the open one: the same order given twice closes nothing else."""

    epoch: Uint256
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class WithdrawFees:
    """Bring ``amount`` wei of the orchestrator's claimable fees to ``recipient``, which must be the pool's treasury."""

    amount: Uint256
    recipient: Address
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class DelegateDevice:
    """The signer's device may work and claim for him until ``expires_at`` (Unix seconds).

    ``device`` is its Ed25519 public key. ``scope`` is ``work``: never money, never the membership.
    """

    device: Bytes32
    scope: Text
    expires_at: Uint256
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class RevokeDevice:
    """The signer's device may do nothing any more, at once and for ever."""

    device: Bytes32
    nonce: Uint256


@dataclass(frozen=True, kw_only=True)
class LeavePool:
    """The signer's devices finish what they run, and get nothing new."""

    nonce: Uint256


# The table: closed, so that a `match` over it can end in assert_never.
RecordAction = SkipRecord | ReadmitRecord
OperatorAction = (
    RecordAction
    | PublishTerms
    | ApproveContributor
    | SuspendContributor
    | AdmitGateway
    | SuspendGateway
    | CloseEpoch
    | WithdrawFees
)
ContributorAction = DelegateDevice | RevokeDevice | LeavePool
Action = OperatorAction | ContributorAction

ACTIONS: Final[Mapping[str, type[Action]]] = {kind.__name__: kind for kind in get_args(Action)}


def struct_fields(kind: type[Action]) -> dict[str, str]:
    """Field name to EIP-712 type, in the order of the struct."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name].__metadata__[0] for field in fields(kind)}


def parse_action(name: str, message: Mapping[str, str | int]) -> Action:
    """The action that ``message`` spells out. Raises ``UnknownAction`` or ``MalformedAction``."""
    kind = ACTIONS.get(name)
    if kind is None:
        raise UnknownAction(action=quoted(name), known=", ".join(ACTIONS))
    types = struct_fields(kind)
    for field in message:
        if field not in types:
            raise MalformedAction(
                field=quoted(field), action=name, value=quoted(message[field]), problem="no such field"
            )
    for field, type_ in types.items():
        if field not in message:
            raise MalformedAction(field=field, action=name, value="missing", problem=f"it must be a {type_}")
        if problem := _problem(type_, message[field]):
            raise MalformedAction(field=field, action=name, value=quoted(message[field]), problem=problem)
    return kind(**message)  # type: ignore[arg-type]  # each value was just checked against its field's type


def message_of(action: Action) -> dict[str, str | int]:
    """The action's fields in the order of the struct. Raises ``MalformedAction``."""
    message: dict[str, str | int] = asdict(action)
    parse_action(type(action).__name__, message)
    return message


def _problem(type_: str, value: Any) -> str | None:
    # Exactly one spelling of each value is accepted: two messages must not share a signature.
    match type_:
        case "string":
            return _text_problem(value)
        case "uint256":
            whole = isinstance(value, int) and not isinstance(value, bool)
            return None if whole and 0 <= value <= UINT256_MAX else "a uint256 is a whole number from 0 to 2**256 - 1"
        case "address":
            is_address = isinstance(value, str) and is_checksum_address(value)
            return None if is_address else "an address is 0x and 40 hex digits with their checksum (EIP-55)"
        case "bytes32":
            well_formed = isinstance(value, str) and re.fullmatch("0x[0-9a-f]{64}", value)
            return None if well_formed else "a bytes32 is 0x and 64 lower-case hex digits"
        case _:
            raise AssertionError(f"no check for EIP-712 type {type_}")


def _text_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return "a string is text"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "a string is text that UTF-8 can hold"
    return None
