"""Money: which asset, exact splits, and double entry. Integers in the asset's smallest unit; nothing here is a float.

Read ``asset.py``, ``split.py``, ``posting.py``, ``ledger.py``, in this order.
"""

from millpond.money.asset import Asset, NotAnAsset
from millpond.money.ledger import Ledger
from millpond.money.posting import (
    CARRIED,
    CLAIMABLE,
    INCOME,
    OPERATOR,
    PAID_OUT,
    SET_ASIDE,
    TREASURY,
    Account,
    Move,
    Posting,
    Unbalanced,
    contributor_account,
    transfer,
)
from millpond.money.split import commission, floor_share, split

__all__ = [
    "CARRIED",
    "CLAIMABLE",
    "INCOME",
    "OPERATOR",
    "PAID_OUT",
    "SET_ASIDE",
    "TREASURY",
    "Account",
    "Asset",
    "Ledger",
    "Move",
    "NotAnAsset",
    "Posting",
    "Unbalanced",
    "commission",
    "contributor_account",
    "floor_share",
    "split",
    "transfer",
]
