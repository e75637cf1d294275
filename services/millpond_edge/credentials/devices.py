"""Devices sign their requests: ``Authorization: Device <device>.<expires>.<signature>``, over ``BlobAccess``."""

from __future__ import annotations

import re
from typing import Annotated, Final

from fastapi import Depends
from starlette.requests import HTTPConnection

from millpond.identity import verify_device
from millpond_edge.credentials.errors import CredentialsMissing, DeviceMayNot, SignatureExpired, SignatureWrong
from millpond_edge.door import Door, OpenDoor

SCHEME: Final = "Device"
# A signature that was seen by a stranger is of use to him for so long at most, and for the one method and path.
AHEAD_S_MAX: Final = 300
WANTED: Final = "Device <device>.<expires in Unix seconds>.<signature over BlobAccess>"
_HEADER: Final = re.compile(r"Device (0x[0-9a-f]{64})\.([0-9]{1,12})\.(0x[0-9a-f]{128})")


def signing_device(connection: HTTPConnection, door: OpenDoor) -> str:
    """The device that signed this request, whoever it is: it need not be registered.

    Raises ``CredentialsMissing``, ``SignatureExpired``, ``SignatureWrong``.
    """
    found = _HEADER.fullmatch(connection.headers.get("authorization", ""))
    if found is None:
        shape = "of another shape" if "authorization" in connection.headers else "missing"
        raise CredentialsMissing(found=shape, wanted=WANTED)
    device, expires, signature = found.groups()
    now = door.clock.now_ms() // 1000
    if not now < int(expires) <= now + AHEAD_S_MAX:
        raise SignatureExpired(expires=expires, now=now, ahead_s_max=AHEAD_S_MAX)
    text = f"{connection.scope.get('method', 'GET')} {connection.url.path} {expires}"
    pool = door.domain.pool
    if not verify_device(pool=pool, kind="BlobAccess", text=text, device=device, signature=signature):
        raise SignatureWrong(device=device, signed=text, pool=pool)
    # Behind the signature: else a stranger could use up what is somebody else's.
    door.limits.take(device)
    return device


SigningDevice = Annotated[str, Depends(signing_device)]


def working_device(door: OpenDoor, device: SigningDevice) -> str:
    """The same, if it may work now. Raises besides ``DeviceMayNot``."""
    return require_working(door, device)


WorkingDevice = Annotated[str, Depends(working_device)]


def require_working(door: Door, device: str) -> str:
    """Raises ``DeviceMayNot`` unless the device is registered, its delegation runs and its contributor is in."""
    refused = door.members.why_not(device, door.clock.now_ms())
    if refused is not None:
        reason, sentence = refused
        raise DeviceMayNot(reason=reason, sentence=sentence)
    return device
