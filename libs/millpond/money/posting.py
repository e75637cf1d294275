"""A posting: one event's effect on the accounts of one asset. What one account gets, others give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, NewType

from millpond.errors import MillpondError

Account = NewType("Account", str)

# What the pool has. A balance above 0 is money that is there.
CLAIMABLE: Final = Account("claimable")  # the orchestrator's fees, still on the chain
TREASURY: Final = Account("treasury")  # withdrawn, in the treasury's wallet; its float for gas is not the pool's money
PAID_OUT: Final = Account("paid-out")  # has left the treasury, to contributors
# Whose it is. A balance below 0 is money that is owed; those of paid-out contributors stand for what they have had.
INCOME: Final = Account("income")  # final on the chain, of no closed epoch yet
OPERATOR: Final = Account("operator")
CARRIED: Final = Account("carried")  # nobody's yet: remainders, and income without work
SET_ASIDE: Final = Account("set-aside")  # carried, too: the shares of held lines

# pending: in a statement whose challenge window runs; payable: ordered; in-flight: planned into a slot; paid: final.
Stage = Literal["pending", "payable", "in-flight", "paid"]


class Unbalanced(MillpondError):
    """The moves of {event} in {asset} come to {sum} and not to 0: one side of the entry is wrong."""


class Move(NamedTuple):
    """``amount`` in the asset's smallest unit: above 0 the account is debited, below 0 credited."""

    account: Account
    amount: int


def contributor_account(contributor: str, stage: Stage) -> Account:
    return Account(f"contributor/{contributor}/{stage}")


@dataclass(frozen=True, slots=True)
class Posting:
    """``event`` names what caused it, in words that find it on its topic. The moves sum to zero, or it is ``Unbalanced``."""

    event: str
    asset: str
    moves: tuple[Move, ...]

    def __post_init__(self) -> None:
        total = sum(move.amount for move in self.moves)
        if total:
            raise Unbalanced(event=self.event, asset=self.asset, sum=total)


def transfer(*, event: str, asset: str, debit: Account, credit: Account, amount: int) -> Posting:
    """The posting of two moves. ``amount`` >= 0."""
    assert amount >= 0, amount
    return Posting(event, asset, (Move(debit, amount), Move(credit, -amount)))
