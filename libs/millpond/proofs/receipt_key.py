"""The pool's own key (Ed25519), with which metering countersigns usage lines. The terms name its public half."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from millpond.identity.device_signature import device_message
from millpond.proofs.errors import ReceiptKeyExposed, ReceiptKeyMissing, ReceiptKeyUnreadable

SEED_BYTES: Final = 32
# A key's file has 65 bytes; what is larger is something else, and isn't read into memory.
FILE_BYTES_MAX: Final = 1_024


class ReceiptKey:
    """Signs receipts. ``public``: ``0x`` and 64 hex digits. The same text always gets the same signature."""

    def __init__(self, seed: bytes) -> None:
        """``seed``: 32 random bytes."""
        self._key = SigningKey(seed)
        self.public = "0x" + self._key.verify_key.encode().hex()

    def sign(self, *, pool: str, kind: str, text: str) -> str:
        """64 bytes as ``0x`` hex, over the same frame that devices sign: pool, kind, text."""
        return "0x" + self._key.sign(device_message(pool=pool, kind=kind, text=text)).signature.hex()

    def __repr__(self) -> str:
        return f"ReceiptKey({self.public})"


def load_receipt_key(path: Path) -> ReceiptKey:
    """Raises ``ReceiptKeyMissing``, ``ReceiptKeyExposed`` or ``ReceiptKeyUnreadable``."""
    try:
        with path.open("rb") as file:
            # Of the open file: what is checked is what is read.
            mode = os.fstat(file.fileno()).st_mode & 0o777
            text = file.read(FILE_BYTES_MAX)
    except OSError as error:
        raise ReceiptKeyMissing(path=path, problem=error.strerror) from error
    if mode & 0o077:
        raise ReceiptKeyExposed(path=path, mode=f"{mode:04o}")
    if not re.fullmatch(rb"[0-9a-f]{64}\n?", text):
        raise ReceiptKeyUnreadable(path=path, problem="it does not hold 64 hex digits")
    return ReceiptKey(bytes.fromhex(text.strip().decode()))


def make_receipt_key(path: Path) -> ReceiptKey:
    """A new key in a new file that only its owner can read; where there is a file already, its key.

    A key is never replaced: receipts that it signed would prove nothing any more. Raises as ``load_receipt_key``.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return load_receipt_key(path)
    except OSError as error:
        raise ReceiptKeyMissing(path=path, problem=error.strerror) from error
    with os.fdopen(descriptor, "w") as file:
        file.write(os.urandom(SEED_BYTES).hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return load_receipt_key(path)
