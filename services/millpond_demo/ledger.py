"""The money of the demo, as the topics tell it: from the tickets to the last payment, and whether it adds up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from millpond.errors import MillpondError
from millpond.events.chain_revenue import FeesWithdrawn, TicketRedeemed
from millpond.events.chain_transfers import TreasuryTransaction
from millpond.events.event import Event
from millpond.events.rewards_epochs import EpochClosed
from millpond.events.rewards_statements import StatementIssued
from millpond.events.treasury_settlements import PayoutSettled


class DoesNotAddUp(MillpondError):
    """The money does not add up: {problem}."""


@dataclass
class Ledger:
    """Everything that is final, by its natural key; amounts in wei."""

    tickets: dict[str, int] = field(default_factory=dict)
    withdrawn: dict[str, int] = field(default_factory=dict)
    gas: dict[str, int] = field(default_factory=dict)
    closed: EpochClosed | None = None
    statements: dict[str, StatementIssued] = field(default_factory=dict)
    settled: list[PayoutSettled] = field(default_factory=list)

    def note(self, event: Event) -> None:
        match event:
            case TicketRedeemed(finality="final"):
                self.tickets[event.ticket] = event.amount
            case FeesWithdrawn(finality="final"):
                self.withdrawn[event.transaction] = event.amount
            case TreasuryTransaction(finality="final"):
                self.gas[event.transaction] = event.gas_paid
            case EpochClosed():
                self.closed = event
            case StatementIssued():
                self.statements[event.contributor] = event
            case PayoutSettled():
                self.settled.append(event)

    @property
    def revenue_wei(self) -> int:
        return sum(self.tickets.values())

    @property
    def is_paid(self) -> bool:
        """Whether everybody who has a statement has a last word about his payout."""
        owed = {address for address, statement in self.statements.items() if statement.amount}
        return self.closed is not None and owed <= {settled.recipient for settled in self.settled}

    def payout_of(self, contributor: str) -> PayoutSettled | None:
        return next((settled for settled in self.settled if settled.recipient == contributor), None)


@dataclass(frozen=True)
class Money:
    """``revenue = Σ contributors + operator + carried``; the treasury's wallet is float + withdrawn - paid - gas."""

    revenue_wei: int
    contributors_wei: int
    operator_wei: int
    carried_wei: int
    gas_wei: int
    epoch_root: str


def balance(ledger: Ledger, contributors: Sequence[str], *, float_wei: int, wallet_wei: int) -> Money:
    """Raises ``DoesNotAddUp`` for a wei too much or too little, or a payment that is missing or there twice."""
    closed = ledger.closed
    assert closed is not None
    (pot,) = closed.pots
    if pot.revenue != ledger.revenue_wei:
        raise DoesNotAddUp(problem=f"the tickets moved {ledger.revenue_wei} wei, the epoch shares {pot.revenue}")
    for contributor in contributors:
        _check_payment(ledger, contributor)
    paid = sum(settled.amount for settled in ledger.settled if settled.outcome == "paid")
    owed = sum(statement.amount for statement in ledger.statements.values())
    if pot.revenue != owed + pot.operator + pot.carried_out:
        raise DoesNotAddUp(
            problem=f"revenue {pot.revenue}, contributors {owed} + operator {pot.operator} + carried {pot.carried_out}"
        )
    gas, withdrawn = sum(ledger.gas.values()), sum(ledger.withdrawn.values())
    if wallet_wei != float_wei + withdrawn - paid - gas:
        raise DoesNotAddUp(
            problem=f"treasury's wallet has {wallet_wei} wei; float {float_wei} + withdrawn {withdrawn} - paid {paid} - "
            f"gas {gas} are {float_wei + withdrawn - paid - gas}"
        )
    return Money(pot.revenue, owed, pot.operator, pot.carried_out, gas, closed.root)


def _check_payment(ledger: Ledger, contributor: str) -> None:
    statement = ledger.statements.get(contributor)
    owed = statement.amount if statement else 0
    payments = [settled for settled in ledger.settled if settled.recipient == contributor]
    if [(each.outcome, each.amount) for each in payments] != ([("paid", owed)] if owed else []):
        found = ", ".join(f"{each.outcome} {each.amount}" for each in payments) or "nothing"
        raise DoesNotAddUp(problem=f"{contributor} is owed {owed} wei, and the settlements say: {found}")
