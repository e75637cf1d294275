"""Load a private key from an encrypted keystore, and let it leak nowhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from eth_account import Account

from millpond.identity.errors import KeystoreMissing, KeystoreUnreadable, PasswordFileExposed, WrongPassword


class PrivateKey(bytes):
    """32 bytes that print as nothing: a key gets into logs by way of somebody else's traceback."""

    def __repr__(self) -> str:
        return "PrivateKey(…)"

    __str__ = __repr__


def load_keystore(path: Path, password_file: Path) -> PrivateKey:
    """The key in ``path`` (Web3 Secret Storage, version 3), opened with the first line of ``password_file``.

    Takes about a second: the format is slow on purpose. Raises a ``KeyUnavailable`` that names the file and the remedy.
    """
    keystore = _keystore(path)
    password = _password(password_file)
    try:
        return PrivateKey(Account.decrypt(keystore, password))
    except ValueError as error:
        if "MAC mismatch" in str(error):
            raise WrongPassword(path=path, password_file=password_file) from None
        raise KeystoreUnreadable(path=path, problem=error) from error
    except (KeyError, TypeError, NotImplementedError) as error:
        raise KeystoreUnreadable(path=path, problem=repr(error)) from error


def _keystore(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text()
    except OSError as error:
        raise KeystoreMissing(what="keystore", path=path, problem=error.strerror) from error
    except UnicodeDecodeError as error:
        raise KeystoreUnreadable(path=path, problem="it is not text") from error
    try:
        keystore = json.loads(text)
    except json.JSONDecodeError as error:
        raise KeystoreUnreadable(path=path, problem="it is not JSON") from error
    if not isinstance(keystore, dict):
        raise KeystoreUnreadable(path=path, problem="it is not a JSON object")
    return keystore


def _password(path: Path) -> str:
    try:
        with path.open() as file:
            # Of the open file: what is checked is what is read.
            mode = os.fstat(file.fileno()).st_mode & 0o777
            if mode & 0o077:
                raise PasswordFileExposed(path=path, mode=f"{mode:03o}")
            return file.readline().rstrip("\r\n")
    except OSError as error:
        raise KeystoreMissing(what="password file", path=path, problem=error.strerror) from error
