"""A batch of orders and its digest, as the payout contract computes it: without a node, and without a contract's ABI."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import encode
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from millpond.errors import MillpondError

# An order is one word: 20 bytes of address, 12 of amount.
AMOUNT_MAX: Final = 2**96 - 1


class NotAnOrder(MillpondError):
    """The amount {amount} for {recipient} doesn't fit an order: 1 to {amount_max}."""


@dataclass(frozen=True, slots=True)
class Order:
    """``amount`` in the asset's smallest unit, > 0."""

    recipient: str
    amount: int

    def __post_init__(self) -> None:
        if not 0 < self.amount <= AMOUNT_MAX:
            raise NotAnOrder(recipient=self.recipient, amount=self.amount, amount_max=AMOUNT_MAX)

    def packed(self) -> bytes:
        return to_canonical_address(self.recipient) + self.amount.to_bytes(12, "big")


def batch_digest(
    *, chain_id: int, contract: str, slot: int, epoch_root: str, asset: str, orders: Iterable[Order]
) -> str:
    """The same as ``Payouts.digestOf``. ``epoch_root`` is 0x hex; ``asset`` a token's contract, or ``ETH``."""
    packed = encode(
        ["uint256", "address", "uint64", "bytes32", "address", "bytes32[]"],
        [chain_id, contract, slot, bytes.fromhex(epoch_root[2:]), asset, [order.packed() for order in orders]],
    )
    return "0x" + keccak(packed).hex()
