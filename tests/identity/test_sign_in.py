"""Signing in: the text of EIP-4361, and nobody's signature but the wallet's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from millpond.identity import (
    MalformedSignature,
    PrivateKey,
    SignIn,
    SignInForeign,
    WrongSignature,
    sign_sign_in,
    verify_sign_in,
)

WALLET = Account.from_key("0x" + "07" * 32)
SIGN_IN = SignIn(
    domain="pool.example:8000",
    address=WALLET.address,
    statement="Sign in to the pool pond.",
    uri="https://pool.example:8000/join",
    chain_id=42_161,
    nonce="0123456789abcdef",
    issued_at=datetime(2026, 11, 28, 5, 30, tzinfo=UTC),
    expires_at=datetime(2026, 11, 28, 5, 40, tzinfo=UTC),
)


def signed(text: str, key: str = "0x" + "07" * 32) -> str:
    return "0x" + bytes(Account.from_key(key).sign_message(encode_defunct(text=text)).signature).hex()


def test_the_text_is_that_of_the_standard() -> None:
    assert SIGN_IN.text == (
        "pool.example:8000 wants you to sign in with your Ethereum account:\n"
        f"{WALLET.address}\n"
        "\n"
        "Sign in to the pool pond.\n"
        "\n"
        "URI: https://pool.example:8000/join\n"
        "Version: 1\n"
        "Chain ID: 42161\n"
        "Nonce: 0123456789abcdef\n"
        "Issued At: 2026-11-28T05:30:00Z\n"
        "Expiration Time: 2026-11-28T05:40:00Z"
    )


def test_the_wallet_s_signature_counts_for_this_text_only() -> None:
    verify_sign_in(SIGN_IN.text, address=WALLET.address, signature=signed(SIGN_IN.text))
    with pytest.raises(WrongSignature):
        verify_sign_in(SIGN_IN.text + " ", address=WALLET.address, signature=signed(SIGN_IN.text))


def test_a_stranger_s_signature_is_named_as_his() -> None:
    stranger = "0x" + "08" * 32
    with pytest.raises(WrongSignature, match=Account.from_key(stranger).address):
        verify_sign_in(SIGN_IN.text, address=WALLET.address, signature=signed(SIGN_IN.text, stranger))


@pytest.mark.parametrize("signature", ["", "0x", "0x" + "00" * 64, "0x" + "00" * 64 + "02", "0x" + "ff" * 65])
def test_what_is_no_signature_is_refused(signature: str) -> None:
    with pytest.raises(MalformedSignature):
        verify_sign_in(SIGN_IN.text, address=WALLET.address, signature=signature)


def test_a_point_that_does_not_exist_is_nobody_s() -> None:
    with pytest.raises(WrongSignature, match="nobody"):
        verify_sign_in(SIGN_IN.text, address=WALLET.address, signature="0x" + "00" * 64 + "1b")


def test_a_program_signs_what_is_its_own_sign_in_at_the_place_that_it_asked() -> None:
    signature = sign_sign_in(SIGN_IN.text, domain="pool.example:8000", private_key=PrivateKey(b"\x07" * 32))
    verify_sign_in(SIGN_IN.text, address=WALLET.address, signature=signature)


@pytest.mark.parametrize(
    ("text", "domain", "key"),
    [
        # A pool that hands on what another one asks would be signed in there as us.
        (SIGN_IN.text, "evil.example", b"\x07" * 32),
        (SIGN_IN.text, "pool.example", b"\x07" * 32),
        (SIGN_IN.text, "pool.example:8000", b"\x08" * 32),
        (" " + SIGN_IN.text, "pool.example:8000", b"\x07" * 32),
        ("I owe you everything.", "pool.example:8000", b"\x07" * 32),
        ("", "pool.example:8000", b"\x07" * 32),
    ],
)
def test_a_program_signs_nothing_else(text: str, domain: str, key: bytes) -> None:
    with pytest.raises(SignInForeign, match="Nothing was signed"):
        sign_sign_in(text, domain=domain, private_key=PrivateKey(key))
