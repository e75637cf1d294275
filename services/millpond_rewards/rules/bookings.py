"""What each event does to the accounts: one function an event, each posting balanced and named after it."""

from __future__ import annotations

from collections.abc import Iterable

from millpond.events.rewards_epochs import EpochClosed, Pot
from millpond.events.rewards_statements import StatementIssued
from millpond.money.posting import (
    CARRIED,
    CLAIMABLE,
    INCOME,
    OPERATOR,
    PAID_OUT,
    SET_ASIDE,
    TREASURY,
    Move,
    Posting,
    Stage,
    contributor_account,
    transfer,
)
from millpond_rewards.rules.pots import Carried
from millpond_rewards.rules.state import Payout


def of_ticket(ticket: str, asset: str, amount: int) -> Posting:
    return transfer(event=f"TicketRedeemed {ticket}", asset=asset, debit=CLAIMABLE, credit=INCOME, amount=amount)


def of_withdrawal(transaction: str, asset: str, amount: int) -> Posting:
    return transfer(event=f"FeesWithdrawn {transaction}", asset=asset, debit=TREASURY, credit=CLAIMABLE, amount=amount)


def of_closing(closed: EpochClosed, before: Carried, pot: Pot, issued: Iterable[StatementIssued]) -> Posting:
    """Income and what was carried in become the operator's, the contributors', or are carried on."""
    free_before, free_after = before.remainder + before.unearned, pot.remainder + pot.unearned
    shares = [
        Move(contributor_account(each.contributor, "pending"), -each.amount)
        for each in issued
        if each.asset == pot.asset and each.amount
    ]
    moves = (
        Move(INCOME, pot.revenue),
        Move(CARRIED, free_before - free_after),
        Move(SET_ASIDE, before.set_aside - pot.set_aside),
        Move(OPERATOR, -pot.operator),
        *shares,
    )
    return Posting(f"EpochClosed {closed.epoch}", pot.asset, moves)


def of_stage(event: str, payout: Payout, *, before: Stage, after: Stage) -> Posting:
    """The contributor's money comes nearer to him, or back."""
    return transfer(
        event=f"{event} {payout.payout}",
        asset=payout.share.asset,
        debit=contributor_account(payout.share.contributor, before),
        credit=contributor_account(payout.share.contributor, after),
        amount=payout.amount,
    )


def of_payment(slot: int, payout: Payout) -> Posting:
    """It is his, and it has left the treasury."""
    return Posting(
        f"SlotFilled {slot} {payout.payout}",
        payout.share.asset,
        (
            Move(contributor_account(payout.share.contributor, "in-flight"), payout.amount),
            Move(contributor_account(payout.share.contributor, "paid"), -payout.amount),
            Move(PAID_OUT, payout.amount),
            Move(TREASURY, -payout.amount),
        ),
    )
