"""The payout contract (``contracts/Payouts.sol``): numbered slots, each filled once.

The digest of a batch is computed here as the contract does, so that it is known, published and compared before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from eth_abi.abi import encode
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from millpond.chain.abi import Artifact
from millpond.errors import MillpondError

PAYOUTS: Final = Artifact.read("millpond.chain.contracts", "Payouts")
# An order is one word: 20 bytes of address, 12 of amount.
AMOUNT_MAX: Final = 2**96 - 1
# What a recipient's own code may use up. A plain account needs none of it, a contract wallet some 10,000; incident 8's 60,000.
GAS_PER_PAYEE: Final = 100_000


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


@dataclass(frozen=True, slots=True)
class Batch:
    """What fills a slot. ``epoch_root`` is 0x hex; ``asset`` a token's contract, or ``ETH`` of ``events.chain_transfers``."""

    chain_id: int
    contract: str
    slot: int
    epoch_root: str
    asset: str
    orders: tuple[Order, ...]

    @property
    def total(self) -> int:
        return sum(order.amount for order in self.orders)

    def digest(self) -> str:
        """The same as ``Payouts.digestOf``."""
        packed = encode(
            ["uint256", "address", "uint64", "bytes32", "address", "bytes32[]"],
            [self.chain_id, self.contract, self.slot, bytes.fromhex(self.epoch_root[2:]), self.asset, self._orders()],
        )
        return "0x" + keccak(packed).hex()

    def call(self, gas_per_payee: int = GAS_PER_PAYEE) -> bytes:
        """The bytes of the call that fills the slot; ETH goes along as its value."""
        root = bytes.fromhex(self.epoch_root[2:])
        return PAYOUTS.abi.call("fill", self.slot, root, self.asset, self._orders(), gas_per_payee)

    def _orders(self) -> Sequence[bytes]:
        return [order.packed() for order in self.orders]
