"""The payout contract (``contracts/Payouts.sol``): numbered slots, each filled once.

The digest of a batch is computed here as the contract does, so that it is known, published and compared before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from millpond.chain.abi import Artifact
from millpond.chain.batch import AMOUNT_MAX, NotAnOrder, Order, batch_digest

__all__ = ["AMOUNT_MAX", "GAS_PER_PAYEE", "PAYOUTS", "Batch", "NotAnOrder", "Order"]

PAYOUTS: Final = Artifact.read("millpond.chain.contracts", "Payouts")
# What a recipient's own code may use up. A plain account needs none of it, a contract wallet some 10,000; incident 8's 60,000.
GAS_PER_PAYEE: Final = 100_000


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
        return batch_digest(
            chain_id=self.chain_id,
            contract=self.contract,
            slot=self.slot,
            epoch_root=self.epoch_root,
            asset=self.asset,
            orders=self.orders,
        )

    def call(self, gas_per_payee: int = GAS_PER_PAYEE) -> bytes:
        """The bytes of the call that fills the slot; ETH goes along as its value."""
        root = bytes.fromhex(self.epoch_root[2:])
        return PAYOUTS.abi.call("fill", self.slot, root, self.asset, self._orders(), gas_per_payee)

    def _orders(self) -> Sequence[bytes]:
        return [order.packed() for order in self.orders]
