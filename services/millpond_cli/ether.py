"""Amounts for people: exact, never rounded."""

from __future__ import annotations

from typing import Final

from millpond.money.asset import Asset

WEI_PER_ETH: Final = 10**18


def in_ether(wei: int) -> str:
    """``wei``, >= 0, in ETH: every digit that is not 0, and no more."""
    whole, rest = divmod(wei, WEI_PER_ETH)
    return f"{whole}.{rest:018d}".rstrip("0").rstrip(".")


def amount_of(amount: int, asset: str) -> str:
    """With the unit. Of a token its smallest: how many decimals it has, its contract may say as it likes."""
    if Asset.parse(asset).contract is None:
        return f"{in_ether(amount)} ETH"
    return f"{amount} of the smallest unit of {asset}"
