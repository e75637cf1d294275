"""The pool's key lies in one file that only its owner reads, and is never replaced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millpond.proofs import (
    ReceiptKeyExposed,
    ReceiptKeyMissing,
    ReceiptKeyUnreadable,
    load_receipt_key,
    make_receipt_key,
)


def test_a_key_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "receipt.key"
    made = make_receipt_key(path)
    assert re.fullmatch("0x[0-9a-f]{64}", made.public)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_receipt_key(path).public == made.public


def test_a_key_that_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "receipt.key"
    assert make_receipt_key(path).public == make_receipt_key(path).public


def test_no_print_shows_the_key(tmp_path: Path) -> None:
    path = tmp_path / "receipt.key"
    made = make_receipt_key(path)
    assert path.read_text().strip() not in repr(made)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "receipt.key"
    make_receipt_key(path)
    path.chmod(0o640)
    with pytest.raises(ReceiptKeyExposed, match="chmod 600"):
        load_receipt_key(path)


@pytest.mark.parametrize("text", ["", "ab" * 31, "AB" * 32, "ab" * 32 + "\nmore"])
def test_a_file_that_holds_no_key_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "receipt.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ReceiptKeyUnreadable, match=str(path)):
        load_receipt_key(path)


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ReceiptKeyMissing, match="millpond receipt key"):
        load_receipt_key(tmp_path / "receipt.key")
