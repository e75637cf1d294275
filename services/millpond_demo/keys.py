"""Who is who in the demo: wallets as keystore files, each with its password beside it, made anew for every run."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from eth_account import Account

# A keystore is slow on purpose; these guard nothing, and five of them must not take the demo's time.
ITERATIONS = 1_000


@dataclass(frozen=True)
class Wallet:
    """``keystore`` and ``password_file``, as a contributor's or an operator's commands take them."""

    address: str
    keystore: Path
    password_file: Path


def make_wallet(directory: Path, name: str, private_key: bytes | None = None) -> Wallet:
    """A wallet in ``directory``, a new one unless its key is given: ``<name>.json`` and ``<name>.password``, for their
    owner's eyes only."""
    account = Account.create() if private_key is None else Account.from_key(private_key)
    password = secrets.token_urlsafe(16)
    keystore, password_file = directory / f"{name}.json", directory / f"{name}.password"
    encrypted = Account.encrypt(account.key, password, kdf="pbkdf2", iterations=ITERATIONS)
    _write(keystore, json.dumps(encrypted))
    _write(password_file, password)
    return Wallet(account.address, keystore, password_file)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text + "\n")
