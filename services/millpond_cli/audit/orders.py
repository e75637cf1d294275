"""What was ordered: each order pays statements that were issued, once, in full, and nobody who is due was passed over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from millpond.errors import MillpondError
from millpond.events.ids import payout_id
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.money import Asset
from millpond.proofs.statement import StatementNotProven, check_statement
from millpond.terms import Terms
from millpond_cli.audit.difference import Difference, Spot, difference
from millpond_cli.audit.published import Published, Said
from millpond_rewards.rules import Share
from millpond_rewards.rules.statements import is_payee


@dataclass
class Account:
    """One contributor's money in one asset. ``issued``: by epoch. ``orders``: all so far."""

    issued: dict[int, int] = field(default_factory=dict)
    orders: list[Said[PayoutOrdered]] = field(default_factory=list)

    def paying(self, epoch: int) -> list[Said[PayoutOrdered]]:
        return [order for order in self.orders if epoch in order.event.epochs]

    def ordered_before(self, epochs: tuple[int, ...], unpaid: frozenset[str]) -> int:
        """All orders so far, but for those that came back and whose statements are ordered again, now or since."""
        total = 0
        for index, said in enumerate(self.orders):
            again = {*epochs, *(epoch for later in self.orders[index + 1 :] for epoch in later.event.epochs)}
            if said.event.payout not in unpaid or not again.intersection(said.event.epochs):
                total += said.event.amount
        return total


def check_orders(
    published: Published, epochs: range, terms: Mapping[int, Terms], leaving: frozenset[str], unpaid: frozenset[str]
) -> None:
    """Orders of ``epochs``, against all statements and orders up to them. ``terms``: by epoch; ``unpaid``: payouts that
    came back. Raises ``Difference``."""
    accounts = _accounts(published)
    for said in sorted(published.orders, key=lambda each: each.event.epoch):
        order = said.event
        if order.epoch >= epochs.stop:
            break
        account = accounts.setdefault(Share(order.contributor, order.asset), Account())
        if order.epoch in epochs:
            _check(published, said, account, leaving, terms, unpaid)
        account.orders.append(said)
    for epoch in epochs:
        _check_nobody_missing(published, epoch, accounts, terms)


def _accounts(published: Published) -> dict[Share, Account]:
    accounts: dict[Share, Account] = {}
    for epoch, statements in published.statements.items():
        for said in statements:
            share = Share(said.event.contributor, said.event.asset)
            accounts.setdefault(share, Account()).issued[epoch] = said.event.amount
    return accounts


def _check(
    published: Published,
    said: Said[PayoutOrdered],
    account: Account,
    leaving: frozenset[str],
    terms: Mapping[int, Terms],
    unpaid: frozenset[str],
) -> None:
    order = said.event
    again = [each for epoch in order.epochs for each in account.paying(epoch)]
    paid_before = [each for each in again if each.event.payout not in unpaid]
    if paid_before:
        raise _differs(said, "pays a statement that was ordered before", order.epochs, "each once", paid_before[0].spot)
    expected = {
        "payout": payout_id(order.epoch, order.contributor, order.asset),
        "recipient": order.contributor,
        "epochs": tuple(sorted(epoch for epoch in order.epochs if account.issued.get(epoch) and epoch <= order.epoch)),
        "amount": sum(account.issued.get(epoch, 0) for epoch in order.epochs),
        "ordered_before": account.ordered_before(order.epochs, unpaid),
    }
    for name, found in expected.items():
        if getattr(order, name) != found:
            statements = [s.spot for e in order.epochs for s in published.statements.get(e, ()) if _is_of(s, order)]
            raise _differs(said, f"says something else in {name}", getattr(order, name), found, *statements)
    _check_proof(published, said)
    minimum = _minimum(terms.get(order.epoch), order.asset)
    if order.epoch in terms and (minimum is None or order.amount < minimum) and order.contributor not in leaving:
        raise _differs(said, "is below the terms' minimum", order.amount, minimum)
    closed = published.closed.get(order.epoch)
    if closed is not None and order.as_of < closed.event.payable_from:
        raise _differs(said, "was given before its challenge window had ended", order.as_of, closed.event.payable_from)


def _is_of(said: Said, order: PayoutOrdered) -> bool:  # type: ignore[type-arg]
    return (said.event.contributor, said.event.asset) == (order.contributor, order.asset)


def _check_proof(published: Published, said: Said[PayoutOrdered]) -> None:
    order = said.event
    checkpoint = published.checkpoints.get(order.proof.epoch)
    try:
        if checkpoint is None:
            raise StatementNotProven(epoch=order.proof.epoch, problem="its epoch has no checkpoint")
        statement = check_statement(order.proof, root=checkpoint.event.root)
        if not _is_of(Said(statement, said.record), order):
            raise StatementNotProven(epoch=order.proof.epoch, problem="it is another contributor's")
        if order.ordered_before + order.amount > statement.cumulative:
            raise StatementNotProven(
                epoch=order.proof.epoch,
                problem=f"{order.ordered_before + order.amount} are ordered of {statement.cumulative} in all",
            )
    except MillpondError as error:
        raise _differs(said, "is not proven", order.proof.epoch, error) from error


def _check_nobody_missing(
    published: Published, epoch: int, accounts: dict[Share, Account], terms: Mapping[int, Terms]
) -> None:
    released = published.released.get(epoch)
    if released is None or epoch not in terms:
        return
    given = [said for said in published.orders if said.event.epoch == epoch]
    if len(given) != released.event.orders:
        raise difference(
            f"Not as many orders of epoch {epoch} are there as were given.",
            published=f"PayoutsReleased: {released.event.orders}",
            found=len(given),
            behind=[released.spot, *(said.spot for said in given)],
        )
    for share, account in sorted(accounts.items()):
        ordered = {each for said in account.orders if said.event.epoch <= epoch for each in said.event.epochs}
        due = sum(amount for number, amount in account.issued.items() if number <= epoch and number not in ordered)
        minimum = _minimum(terms[epoch], share.asset)
        if due and minimum is not None and due >= minimum and is_payee(share.contributor):
            statements = [each for number in account.issued for each in published.statements[number]]
            raise difference(
                f"Nothing was ordered for {share.contributor} when epoch {epoch} was released.",
                published="no order",
                found=f"{due} of {share.asset} are due",
                behind=[
                    released.spot,
                    *(each.spot for each in statements if each.event.contributor == share.contributor),
                ],
            )


def _minimum(terms: Terms | None, asset: str) -> int | None:
    """Ether is the one asset that income comes in."""
    if terms is None or Asset.parse(asset).contract is not None or "ETH" not in terms.payout.assets:
        return None
    return terms.payout.minimum["ETH"]


def _differs(said: Said[PayoutOrdered], what: str, published: object, found: object, *behind: Spot) -> Difference:
    order = said.event
    return difference(
        f"The order {order.payout} to {order.contributor} {what}.",
        published=published,
        found=found,
        behind=[said.spot, *behind],
    )
