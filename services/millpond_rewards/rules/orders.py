"""Once an epoch's challenge window is over: who is paid, how much, and what proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from millpond.events.ids import payout_id
from millpond.events.rewards_payouts import PayoutOrdered, StatementProof
from millpond.money.asset import Asset
from millpond_rewards.rules.bookings import of_stage
from millpond_rewards.rules.state import Account, Payout, State, Window
from millpond_rewards.rules.statements import Share, is_payee


def orders(state: State, window: Window, as_of: datetime) -> tuple[PayoutOrdered, ...]:
    """One for each contributor and asset whose unpaid statements, up to this epoch, come to the minimum of its terms.

    Who leaves gets his balance whatever it is. What is below the minimum waits for the next epoch's window.
    """
    minimum = _minimums(state, window)
    being_paid = _being_paid(state)
    return tuple(
        order
        for share, account in sorted(state.accounts.items())
        if (order := _order(state, window, share, account, being_paid.get(share, frozenset()), minimum, as_of))
    )


def with_orders(state: State, ordered: Sequence[PayoutOrdered]) -> State:
    """The state once they are ordered: by the rules now, or by what a rebuild reads."""
    accounts, payouts, postings = dict(state.accounts), dict(state.payouts), []
    for order in ordered:
        share = Share(order.contributor, order.asset)
        accounts[share] = replace(accounts[share], ordered=accounts[share].ordered + order.amount)
        payout = Payout(order.payout, share, order.amount, order.epochs, order.recipient)
        payouts[payout.payout] = payout
        postings.append(of_stage("PayoutOrdered", payout, before="pending", after="payable"))
    return replace(state, accounts=accounts, payouts=payouts, ledger=state.ledger.post(postings))


def with_released(state: State, epoch: int) -> State:
    """Its window is over. Of the statements up to it only the latest can still be named."""
    accounts = {share: replace(account, proofs=_named(account, epoch)) for share, account in state.accounts.items()}
    windows = tuple(window for window in state.windows if window.epoch != epoch)
    said = frozenset(said for said in state.said if (said.epoch, said.step) != (epoch, "payouts"))
    return replace(state, accounts=accounts, windows=windows, said=said)


def _named(account: Account, epoch: int) -> tuple[StatementProof, ...]:
    upto = [proof for proof in account.proofs if proof.epoch <= epoch]
    return (*upto[-1:], *(proof for proof in account.proofs if proof.epoch > epoch))


def _order(
    state: State,
    window: Window,
    share: Share,
    account: Account,
    being_paid: frozenset[int],
    minimum: Mapping[str, int],
    as_of: datetime,
) -> PayoutOrdered | None:
    due = {e: amount for e, amount in account.unpaid.items() if e <= window.epoch and e not in being_paid and amount}
    amount = sum(due.values())
    least = 0 if share.contributor in state.leaving else minimum.get(share.asset)
    # No minimum in the terms: an asset that they don't pay out.
    if not amount or least is None or amount < least or not is_payee(share.contributor):
        return None
    proof = next(proof for proof in reversed(account.proofs) if proof.epoch <= window.epoch)
    return PayoutOrdered(
        payout=payout_id(window.epoch, share.contributor, share.asset),
        epoch=window.epoch,
        contributor=share.contributor,
        recipient=share.contributor,
        asset=share.asset,
        amount=amount,
        epochs=tuple(sorted(due)),
        ordered_before=account.ordered,
        proof=proof,
        as_of=as_of,
    )


def _minimums(state: State, window: Window) -> dict[str, int]:
    """By asset, of the terms under which the epoch was closed. Ether is the one asset that income comes in."""
    terms = next(offer.terms for offer in state.offers if offer.version == window.terms_version)
    return {
        asset: terms.payout.minimum["ETH"]
        for asset in {share.asset for share in state.accounts}
        if Asset.parse(asset).contract is None and "ETH" in terms.payout.assets
    }


def _being_paid(state: State) -> dict[Share, frozenset[int]]:
    """By share, the epochs whose statements an order that isn't final pays."""
    found: dict[Share, frozenset[int]] = {}
    for payout in state.payouts.values():
        found[payout.share] = found.get(payout.share, frozenset()).union(payout.epochs)
    return found
