"""What machines, wallets and the page send and get, as JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from eth_utils.address import to_checksum_address
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr

from millpond.events.agent_enrolments import DeviceSignature
from millpond.events.fields import Address, Hash32, Instant
from millpond.events.operator_commands import MESSAGE_FIELDS_MAX, SIGNATURE_CHARACTERS_MAX
from millpond_edge.view.members import ContributorState, DeviceState

# A wallet may give its address in any case; whoever signs is spelt with the checksum.
AnyCaseAddress = Annotated[Address, AfterValidator(to_checksum_address)]
WORK_DAYS_MAX = 3_650


class _Sent(BaseModel):
    # What would be passed over in silence may be what the sender means.
    model_config = ConfigDict(frozen=True, extra="forbid")


class PoolShown(BaseModel):
    """Which pool this is. What is signed counts for ``pool`` on ``chain_id`` only; ``receipt_key`` countersigns receipts."""

    pool: str
    chain_id: int
    receipt_key: str
    public_url: str
    time: Instant


class TermsShown(BaseModel):
    """``document`` is the canonical JSON that the operator signed, ``terms_hash`` its SHA-256."""

    version: int
    effective_from_epoch: int
    terms_hash: str
    document: str
    signer: str
    signature: str


class DeviceShown(BaseModel):
    """How the registry sees a device. ``reason`` and ``sentence``: why it may not work."""

    state: DeviceState
    contributor: str | None = None
    reason: str | None = None
    sentence: str | None = None


class EnrolmentAsked(_Sent):
    """``signature``: the device's, of kind Enrolment over its own public key."""

    device: Hash32
    signature: DeviceSignature


class EnrolmentMade(BaseModel):
    """``link`` is for the browser with the wallet; ``code`` shows there that it is this machine."""

    code: str
    link: str
    expires_at: Instant


class ActionSigned(_Sent):
    """What a wallet signed (EIP-712): ``message`` has the action's fields, numbers as numbers."""

    signer: Address
    message: Annotated[dict[str, StrictInt | StrictStr], Field(max_length=MESSAGE_FIELDS_MAX)]
    signature: Annotated[StrictStr, Field(max_length=SIGNATURE_CHARACTERS_MAX)]


class DelegationSigned(ActionSigned):
    action: Literal["DelegateDevice"]


class DelegationConsented(DelegationSigned):
    """``consent``: the device's signature, of kind Consent over the signer's address."""

    consent: DeviceSignature


class RevocationSigned(ActionSigned):
    action: Literal["RevokeDevice"]


class DepartureSigned(ActionSigned):
    action: Literal["LeavePool"]


class Taken(BaseModel):
    """Kafka has it; the registry decides. ``item`` is its identity on the topic."""

    item: str


class EnrolmentShown(BaseModel):
    """For the machine that asked: ``delegation`` is what the wallet signed for it."""

    state: Literal["waiting", "delegated", "expired"]
    contributor: str | None = None
    delegation: DelegationSigned | None = None


class CodeShown(BaseModel):
    """For the browser. ``standing``: how the registry sees the machine by now."""

    code: str
    device: str
    state: Literal["waiting", "delegated"]
    expires_at: Instant
    contributor: str | None
    standing: DeviceShown


class SignInAsked(_Sent):
    address: AnyCaseAddress


class SignInOffered(BaseModel):
    """``text`` (EIP-4361) is to be signed as it is, with ``personal_sign``."""

    nonce: str
    text: str
    contributor: str
    expires_at: Instant


class SignInSigned(_Sent):
    nonce: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{8,64}$")]
    signature: Annotated[StrictStr, Field(max_length=SIGNATURE_CHARACTERS_MAX)]


class SessionShown(BaseModel):
    contributor: str
    expires_at: Instant


class SessionOpened(SessionShown):
    """``token`` is a secret of the program that signed in."""

    token: str


class DelegationDraftAsked(_Sent):
    action: Literal["DelegateDevice"]
    code: str
    days: Annotated[int, Field(strict=True, ge=1, le=WORK_DAYS_MAX)] = 365


class RevocationDraftAsked(_Sent):
    action: Literal["RevokeDevice"]
    device: Hash32


class DepartureDraftAsked(_Sent):
    action: Literal["LeavePool"]


DraftAsked = Annotated[DelegationDraftAsked | RevocationDraftAsked | DepartureDraftAsked, Field(discriminator="action")]


class Draft(BaseModel):
    """``typed_data`` is for ``eth_signTypedData_v4``; ``signer``, ``action``, ``message`` are sent back with the signature."""

    signer: str
    action: str
    message: dict[str, int | str]
    typed_data: dict[str, Any]


class OwnDevice(BaseModel):
    """``jobs`` is how many it has in hand now."""

    device: str
    state: DeviceState
    expires_at: Instant | None
    reason: str | None
    sentence: str | None
    jobs: int


class OwnDevices(BaseModel):
    contributor: str
    state: ContributorState
    sentence: str | None
    devices: list[OwnDevice]
