"""What a device signs, and whether it did (Ed25519). Apart from the key's file, so that rules can ask."""

from __future__ import annotations

import re
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

_KEY: Final = re.compile("0x[0-9a-f]{64}")
_SIGNATURE: Final = re.compile("0x[0-9a-f]{128}")


def device_message(*, pool: str, kind: str, text: str) -> bytes:
    """What is signed: a claim for one pool, of one kind; no signature can be shown as one of another."""
    return f"millpond/1\n{pool}\n{kind}\n{text}".encode()


def verify_device(*, pool: str, kind: str, text: str, device: str, signature: str) -> bool:
    """Whether ``device`` signed exactly this. Only the one spelling counts: lower-case hex of the very lengths."""
    if not (_KEY.fullmatch(device) and _SIGNATURE.fullmatch(signature)):
        return False
    try:
        key = VerifyKey(bytes.fromhex(device[2:]))
        key.verify(device_message(pool=pool, kind=kind, text=text), bytes.fromhex(signature[2:]))
    except BadSignatureError:
        return False
    return True
