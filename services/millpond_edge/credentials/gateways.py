"""Gateways show their API key: ``Authorization: Bearer mpk_<gateway>_<43 characters>``."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from millpond_edge.credentials.errors import CredentialsMissing, GatewayIsSuspended, KeyExpired, KeyWrong
from millpond_edge.door import Door, OpenDoor

WANTED: Final = "Bearer mpk_<gateway>_<43 characters>"
_HEADER: Final = re.compile(r"Bearer (mpk_([a-z0-9][a-z0-9-]{0,63})_[A-Za-z0-9_-]{43})")
# Compared with when there is no such gateway: who guesses learns nothing from the time.
_NOBODY: Final = "0x" + "0" * 64


def verify_key(door: Door, header: str | None) -> tuple[str, str]:
    """The gateway whose valid key ``header`` (Authorization) shows, and the key's SHA-256.

    Raises ``CredentialsMissing``, ``KeyWrong``, ``KeyExpired``, ``GatewayIsSuspended``.
    """
    found = _HEADER.fullmatch(header or "")
    if found is None:
        raise CredentialsMissing(found="missing" if header is None else "of another shape", wanted=WANTED)
    key, gateway = found.groups()
    admission = door.gateways.admission(gateway)
    key_hash = "0x" + hashlib.sha256(key.encode()).hexdigest()
    if not hmac.compare_digest(key_hash, admission.key_hash if admission else _NOBODY) or admission is None:
        raise KeyWrong
    if admission.expires_at <= datetime.fromtimestamp(door.clock.now_ms() / 1000, tz=UTC):
        raise KeyExpired(gateway=gateway, expires_at=admission.expires_at.isoformat())
    if admission.suspended is not None:
        raise GatewayIsSuspended(gateway=gateway, sentence=admission.suspended)
    return gateway, key_hash


def admitted_gateway(connection: HTTPConnection, door: OpenDoor) -> str:
    """The gateway that asks. Raises as ``verify_key``, and ``RateExceeded``."""
    gateway, key_hash = verify_key(door, connection.headers.get("authorization"))
    # Behind the check: else a stranger could use up what is somebody else's.
    door.limits.take(key_hash)
    return gateway


Gateway = Annotated[str, Depends(admitted_gateway)]
