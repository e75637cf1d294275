"""Whether an order may be paid: what treasury believes without asking anybody. If several apply, the first is given."""

from __future__ import annotations

from typing import Final

from millpond.chain.batch import AMOUNT_MAX
from millpond.events.ids import payout_id
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.proofs.statement import StatementNotProven, check_statement
from millpond_treasury.rules.state import ZERO, State, Treasury

Objection = tuple[str, str]

NOT_ITS_ID: Final = "The order's id is not that of its epoch, contributor and asset."
ASSET: Final = "The treasury pays in Ether only."
PAYEE: Final = "Nothing can be paid to {recipient}: it is nobody's, or the pool's own."
OTHER_PAYEE: Final = "The order pays {recipient}, and not {contributor}, whom its statement is about."
TOO_LARGE: Final = "The amount does not fit an order of the payout contract."
NO_CHECKPOINT: Final = "The checkpoint of epoch {epoch}, signed with the pool's key, is not there."
OTHER_STATEMENT: Final = "The statement that the order shows is another contributor's, asset's or epoch's."
ABOVE_STATEMENT: Final = "With this order {paid} wei would be paid of {cumulative} that were earned."
ABOVE_POTS: Final = "With this order {paid} wei would be paid of {earned} that all contributors together have earned."


def objection(treasury: Treasury, state: State, order: PayoutOrdered, *, before: int) -> Objection | None:
    """``before``: what was planned for all and did not come back, and what is about to be; in wei."""
    return _of_payee(treasury, order) or _of_proof(state, order) or _of_pots(state, order, before)


def _of_payee(treasury: Treasury, order: PayoutOrdered) -> Objection | None:
    if order.payout != payout_id(order.epoch, order.contributor, order.asset):
        return "payout-id-differs", NOT_ITS_ID
    if order.asset != treasury.ether:
        return "asset-not-payable", ASSET
    if order.recipient in (ZERO, treasury.address, treasury.contract, treasury.orchestrator):
        return "payee-invalid", PAYEE.format(recipient=order.recipient)
    # No event changes an address yet; without one an order to elsewhere is not what was proven.
    if order.recipient != order.contributor:
        names = {"recipient": order.recipient, "contributor": order.contributor}
        return "payee-not-contributor", OTHER_PAYEE.format(**names)
    if order.amount > AMOUNT_MAX:
        return "amount-too-large", TOO_LARGE
    return None


def _of_proof(state: State, order: PayoutOrdered) -> Objection | None:
    root = state.roots.get(order.proof.epoch)
    if root is None:
        return "checkpoint-missing", NO_CHECKPOINT.format(epoch=order.proof.epoch)
    try:
        statement: StatementIssued = check_statement(order.proof, root=root)
    except StatementNotProven as refusal:
        return "statement-not-proven", str(refusal)
    named = (statement.contributor, statement.asset)
    if named != (order.contributor, order.asset) or statement.epoch > order.epoch:
        return "statement-not-proven", OTHER_STATEMENT
    paid = state.committed.get(order.recipient, 0) + order.amount
    if paid > statement.cumulative:
        return "above-statement", ABOVE_STATEMENT.format(paid=paid, cumulative=statement.cumulative)
    return None


def _of_pots(state: State, order: PayoutOrdered, before: int) -> Objection | None:
    earned = state.earned.get(order.asset, 0)
    paid = before + order.amount
    return ("above-pots", ABOVE_POTS.format(paid=paid, earned=earned)) if paid > earned else None
