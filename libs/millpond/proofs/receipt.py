"""A receipt: a usage line that the pool has countersigned, and the device's own claim that it is about.

Anyone can check one with nothing but the file and the pool's public key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from millpond.events.agent_claims import JobSucceeded
from millpond.events.device_claims import JobSucceededClaim
from millpond.events.fields import Hash32
from millpond.events.ids import line_id
from millpond.events.metering_usage import UNITS_MAX, UsageHeld, UsageLine, UsageRecorded
from millpond.identity.device_signature import verify_device
from millpond.proofs.errors import (
    ClaimDiffers,
    ClaimMissing,
    ClaimOfAnotherDevice,
    ClaimOfAnotherJob,
    FiguresDiffer,
    LineDiffers,
    ReceiptUnreadable,
    WrongClaimSignature,
    WrongCountersignature,
)
from millpond.proofs.receipt_key import ReceiptKey

LINE_TYPES: Final[Mapping[str, type[UsageLine]]] = {kind.type_name: kind for kind in (UsageRecorded, UsageHeld)}
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

Line = TypeVar("Line", UsageRecorded, UsageHeld)


def canonical_text(fields: Mapping[str, Any]) -> str:
    """What is countersigned: all fields but ``receipt``, as JSON with sorted keys, without blanks, in UTF-8.

    Of the fields as they stand in the JSON, known or not: whoever has an older version can check a newer line.
    """
    return _CANONICAL.encode({name: value for name, value in fields.items() if name != "receipt"})


def countersign(line: Line, *, pool: str, key: ReceiptKey) -> Line:
    """The same line with the pool's signature in ``receipt``. The same line gets the same signature, whenever it is made."""
    text = canonical_text(line.model_dump(mode="json"))
    return line.model_copy(update={"receipt": key.sign(pool=pool, kind=_kind(line.type_name), text=text)})


def is_countersigned(fields: Mapping[str, Any], *, kind: str, pool: str, key: str) -> bool:
    """Whether ``key`` signed these fields of an event of type ``kind``."""
    signature = fields.get("receipt")
    if not isinstance(signature, str):
        return False
    return verify_device(pool=pool, kind=_kind(kind), text=canonical_text(fields), device=key, signature=signature)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a checked receipt proves: the pool signed ``line``, and its device signed ``claim``."""

    pool: str
    line: UsageLine
    claim: JobSucceededClaim


class _Claim(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    device: Hash32
    payload: str
    signature: str


class _File(BaseModel):
    """As the agent stores it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pool: str
    type: str
    event: dict[str, Any]
    claim: _Claim | None


def check_receipt(document: bytes, *, key: str) -> Receipt:
    """Goes through the reasons of ``ReceiptRefused`` in their order, and raises the first that applies."""
    file = _read(_File, document, "")
    kind = LINE_TYPES.get(file.type)
    if kind is None:
        raise ReceiptUnreadable(field="type", problem=f"is {file.type[:64]!r}, not {' or '.join(LINE_TYPES)}")
    line: UsageLine = _read(kind, json.dumps(file.event).encode(), "event.")
    if not is_countersigned(file.event, kind=file.type, pool=file.pool, key=key):
        raise WrongCountersignature(key=key, pool=file.pool)
    expected = line_id(line.job, line.attempt, line.window)
    if line.line != expected:
        raise LineDiffers(line=line.line, window=line.window, attempt=line.attempt, job=line.job, expected=expected)
    return Receipt(file.pool, line, _check_claim(file.pool, line, file.claim))


def _check_claim(pool: str, line: UsageLine, given: _Claim | None) -> JobSucceededClaim:
    if given is None:
        raise ClaimMissing(result=line.result)
    if given.device != line.device:
        raise ClaimOfAnotherDevice(found=given.device, device=line.device)
    # model_construct: its text is taken as it is, however long, for its hash comes before its meaning.
    signed = JobSucceeded.model_construct(device=given.device, payload=given.payload, signature=given.signature)
    if signed.payload_hash != line.result:
        raise ClaimDiffers(found=signed.payload_hash, result=line.result)
    if not verify_device(
        pool=pool, kind=JobSucceeded.type_name, text=given.payload, device=given.device, signature=given.signature
    ):
        raise WrongClaimSignature(device=given.device, pool=pool)
    claim = _read(JobSucceededClaim, given.payload.encode(), "claim.payload.")
    if (claim.job, claim.attempt) != (line.job, line.attempt):
        raise ClaimOfAnotherJob(found_attempt=claim.attempt, found_job=claim.job, attempt=line.attempt, job=line.job)
    claimed = min(sum(output.pixels for output in claim.outputs), UNITS_MAX)
    if claimed != line.claimed:
        raise FiguresDiffer(found=claimed, claimed=line.claimed)
    return claim


Model = TypeVar("Model", bound=BaseModel)


def _read(kind: type[Model], document: bytes, prefix: str) -> Model:
    try:
        return kind.model_validate_json(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = f"{prefix}{'.'.join(map(str, first['loc']))}".strip(".") or "the file"
        raise ReceiptUnreadable(field=field, problem=first["msg"]) from error


def _kind(type_name: str) -> str:
    # Devices sign under the names of their claims; no signature of one can be shown as one of the other.
    return f"receipt/{type_name}"
