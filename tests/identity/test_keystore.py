"""A keystore opens with its password, or says which file is wrong and what to do."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from eth_account import Account

from millpond.identity import (
    KeystoreMissing,
    KeystoreUnreadable,
    PasswordFileExposed,
    PrivateKey,
    WrongPassword,
    load_keystore,
)

KEY = bytes.fromhex("11" * 32)


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "operator.json"
    path.write_text(json.dumps(Account.encrypt(KEY, "correct horse", kdf="pbkdf2", iterations=2)))
    return path


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse\n")
    path.chmod(0o600)
    return path


def test_a_keystore_opens_with_its_password(keystore: Path, password_file: Path) -> None:
    assert load_keystore(keystore, password_file) == KEY


def test_a_wrong_password_names_both_files_and_no_secret(keystore: Path, password_file: Path) -> None:
    password_file.write_text("wrong horse\n")
    with pytest.raises(WrongPassword, match=f"{password_file} does not open {keystore}") as refused:
        load_keystore(keystore, password_file)
    assert "horse" not in str(refused.value)


@pytest.mark.parametrize("missing", ["keystore", "password file"])
def test_a_missing_file_is_named(keystore: Path, password_file: Path, missing: str) -> None:
    path = keystore if missing == "keystore" else password_file
    path.unlink()
    with pytest.raises(KeystoreMissing, match=f"{missing} {path}"):
        load_keystore(keystore, password_file)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_password_that_others_can_reach_is_refused(keystore: Path, password_file: Path, mode: int) -> None:
    password_file.chmod(mode)
    with pytest.raises(PasswordFileExposed, match=f"{mode:o}.*chmod 600 {password_file}"):
        load_keystore(keystore, password_file)


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"[]", b"{}", b'{"version": 9}', b'{"version": 3, "crypto": {}}']
)
def test_another_file_is_no_keystore(keystore: Path, password_file: Path, content: bytes) -> None:
    keystore.write_bytes(content)
    with pytest.raises(KeystoreUnreadable, match=f"{keystore} is no keystore"):
        load_keystore(keystore, password_file)


def test_a_key_prints_as_nothing(caplog: pytest.LogCaptureFixture) -> None:
    key = PrivateKey(KEY)
    logging.getLogger("test").warning("%s %r", key, {"key": key})
    assert "1111" not in caplog.text + f"{key} {key!r} {[key]}"
    assert "\\x11" not in caplog.text + f"{key} {key!r} {[key]}"
