"""``agent.enrolments.v1``: what contributors signed with their wallets. Key: the contributor (checksum address)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StrictStr, StringConstraints

from millpond.events.event import Event
from millpond.events.fields import Address, Hex
from millpond.events.operator_commands import MESSAGE_FIELDS_MAX, SIGNATURE_CHARACTERS_MAX

WalletSignature = Annotated[Hex, StringConstraints(max_length=SIGNATURE_CHARACTERS_MAX)]
DeviceSignature = Annotated[str, StringConstraints(strict=True, pattern=r"^0x[0-9a-f]{128}$")]
# An EIP-4361 message is some lines of text.
SIGN_IN_CHARACTERS_MAX = 4_096


class SignedIn(Event):
    """The wallet showed that it is there: ``text`` is the EIP-4361 message, with edge's ``nonce``."""

    contributor: Address
    text: Annotated[str, StringConstraints(strict=True, max_length=SIGN_IN_CHARACTERS_MAX)]
    nonce: Annotated[str, StringConstraints(strict=True, pattern=r"^[A-Za-z0-9]{8,64}$")]
    signature: WalletSignature


class _Signed(Event):
    signer: Address
    message: Annotated[dict[str, StrictInt | StrictStr], Field(max_length=MESSAGE_FIELDS_MAX)]
    signature: WalletSignature


class DeviceDelegated(_Signed):
    """The wallet lets a device work for it, and the device agrees: ``consent`` is its signature over the wallet's address.

    Without consent anyone could claim a stranger's device, and be paid for its work.
    """

    action: Literal["DelegateDevice"]
    consent: DeviceSignature


class DeviceRevoked(_Signed):
    """The wallet takes a device's rights away."""

    action: Literal["RevokeDevice"]


class LeaveAsked(_Signed):
    """The contributor leaves."""

    action: Literal["LeavePool"]


EnrolmentAction = DeviceDelegated | DeviceRevoked | LeaveAsked


def sign_in_item(event: SignedIn) -> str:
    return f"{event.contributor}/SignedIn/{event.nonce}"


def enrolment_item(event: EnrolmentAction) -> str:
    """What the header ``item`` says: nonces rise per signer."""
    return f"{event.signer}/{event.action}/{event.message.get('nonce')}"
