"""A key that signs transactions. It prints as its address, and in no other way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount


@dataclass(frozen=True)
class Transfer:
    """What a transaction does: EIP-1559, ``value`` and fees in wei. ``to`` is None where a contract is made."""

    chain_id: int
    nonce: int
    to: str | None
    value: int
    data: bytes
    gas: int
    max_fee_per_gas: int
    max_priority_fee_per_gas: int


@dataclass(frozen=True)
class SignedTransaction:
    """``raw`` is what is broadcast, again and again the same; ``hash`` is known before anything leaves."""

    raw: bytes
    hash: str


class Signer:
    """Made of a private key, which stays in here."""

    def __init__(self, private_key: bytes) -> None:
        self._account: LocalAccount = Account.from_key(private_key)
        self.address = str(self._account.address)

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def sign(self, transfer: Transfer) -> SignedTransaction:
        """The same bytes for the same transfer, always (RFC 6979)."""
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": transfer.chain_id,
            "nonce": transfer.nonce,
            "to": transfer.to or b"",
            "value": transfer.value,
            "data": transfer.data,
            "gas": transfer.gas,
            "maxFeePerGas": transfer.max_fee_per_gas,
            "maxPriorityFeePerGas": transfer.max_priority_fee_per_gas,
        }
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(bytes(signed.raw_transaction), "0x" + signed.hash.hex())
