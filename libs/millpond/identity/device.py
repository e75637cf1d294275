"""A device's own key (Ed25519): what a machine claims, it signs; the wallet's key is never on it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from nacl.signing import SigningKey

from millpond.errors import MillpondError
from millpond.identity.device_signature import device_message


class DeviceKeyUnreadable(MillpondError):
    """{path} is no device key: {problem}. Restore the file, or move it away: then a new key is made, to be delegated anew."""


class DeviceKeyExposed(MillpondError):
    """{path} has mode {mode}: others on this machine can sign as this device. Run: chmod 600 {path}"""


class DeviceKey:
    """Signs for one device. ``device`` is its public key, ``0x`` and 64 hex digits: that is who the device is."""

    def __init__(self, seed: bytes) -> None:
        """``seed``: 32 random bytes."""
        self._key = SigningKey(seed)
        self.device = "0x" + self._key.verify_key.encode().hex()

    def sign(self, *, pool: str, kind: str, text: str) -> str:
        """64 bytes as ``0x`` hex, over ``device_message``. The same input gives the same signature."""
        return "0x" + self._key.sign(device_message(pool=pool, kind=kind, text=text)).signature.hex()

    def __repr__(self) -> str:
        return f"DeviceKey({self.device})"


def load_or_make_device_key(path: Path) -> DeviceKey:
    """The key in ``path``; where there is no file, a new one, readable by its owner only.

    Raises ``DeviceKeyUnreadable`` or ``DeviceKeyExposed``: a key that others may have read is nobody's.
    """
    if not path.exists():
        _write_new(path, os.urandom(32))
    with path.open("rb") as file:
        # Of the open file: what is checked is what is read.
        mode = os.fstat(file.fileno()).st_mode & 0o777
        if mode & 0o077:
            raise DeviceKeyExposed(path=path, mode=f"{mode:04o}")
        text = file.read(1_024)
    if not re.fullmatch(rb"[0-9a-f]{64}\n?", text):
        raise DeviceKeyUnreadable(path=path, problem="it does not hold 64 hex digits")
    return DeviceKey(bytes.fromhex(text.strip().decode()))


def _write_new(path: Path, seed: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Whole or not at all: two agents that start at once must not read half a key, nor each a different one.
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(seed.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(unfinished, path)
    except FileExistsError:
        pass
    finally:
        unfinished.unlink()
