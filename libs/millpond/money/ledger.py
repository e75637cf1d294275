"""The accounts of a pool: what all postings come to, per asset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from millpond.money.posting import Account, Posting


@dataclass(frozen=True, slots=True)
class Ledger:
    """Balances by (asset, account). Debits are above 0; all accounts of an asset sum to zero, always."""

    balances: Mapping[tuple[str, Account], int] = field(default_factory=dict)

    def post(self, postings: Iterable[Posting]) -> Ledger:
        """The ledger after them. In whatever order: only the sums count."""
        balances = dict(self.balances)
        for posting in postings:
            for account, amount in posting.moves:
                balances[posting.asset, account] = balances.get((posting.asset, account), 0) + amount
        return Ledger(balances)

    def balance(self, asset: str, account: Account) -> int:
        return self.balances.get((asset, account), 0)

    def sum(self, asset: str) -> int:
        """0, or an entry was lost on its way to the disk."""
        return sum(amount for (of, _), amount in self.balances.items() if of == asset)

    def assets(self) -> list[str]:
        return sorted({asset for asset, _ in self.balances})
