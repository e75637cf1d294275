"""What became of the orders: planned into slots, filled on the chain, paid or come back. Each is paid once."""

from __future__ import annotations

from dataclasses import dataclass, field

from millpond.chain.batch import Order, batch_digest
from millpond.events.chain_revenue import FeesWithdrawn
from millpond.events.chain_transfers import ETH, PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.registry_members import ContributorDraining, ContributorLeft
from millpond.events.topics import CHAIN_REVENUE, CHAIN_TRANSFERS, REGISTRY_MEMBERS, TREASURY_SETTLEMENTS
from millpond.events.treasury_settlements import SlotPlanned
from millpond.money import Asset
from millpond.stream.log import Log
from millpond_cli.audit.difference import difference
from millpond_cli.audit.published import Published, Said
from millpond_cli.audit.reading import everything, observed, read


@dataclass
class Settled:
    """By slot, what was planned and what the chain says for good. ``paid``: by payout, the slot that paid it."""

    planned: dict[int, Said[SlotPlanned]] = field(default_factory=dict)
    filled: dict[int, Said[SlotFilled]] = field(default_factory=dict)
    missed: dict[int, dict[int, Said[PayeeUnpaid]]] = field(default_factory=dict)
    transactions: dict[str, Said[TreasuryTransaction]] = field(default_factory=dict)
    withdrawals: dict[tuple[str, int], Said[FeesWithdrawn]] = field(default_factory=dict)
    leaving: frozenset[str] = frozenset()
    paid: dict[str, int] = field(default_factory=dict)
    unpaid: frozenset[str] = frozenset()


async def settled_on(log: Log) -> Settled:
    found = Settled()
    for record in await everything(log, TREASURY_SETTLEMENTS):
        if isinstance(planned := read(TREASURY_SETTLEMENTS, record).event, SlotPlanned):
            found.planned.setdefault(planned.slot, Said(planned, record))
    for record in observed(await everything(log, CHAIN_TRANSFERS), {}, ()):
        match event := read(CHAIN_TRANSFERS, record).event:
            case SlotFilled(finality="final"):
                found.filled.setdefault(event.slot, Said(event, record))
            case PayeeUnpaid(finality="final"):
                found.missed.setdefault(event.slot, {})[event.index] = Said(event, record)
            case TreasuryTransaction(finality="final"):
                found.transactions[event.transaction] = Said(event, record)
    for record in observed(await everything(log, CHAIN_REVENUE), {}, ()):
        drawn = read(CHAIN_REVENUE, record).event
        if isinstance(drawn, FeesWithdrawn) and drawn.finality == "final":
            found.withdrawals.setdefault((drawn.transaction, drawn.log_index), Said(drawn, record))
    leaving = set()
    for record in await everything(log, REGISTRY_MEMBERS):
        if isinstance(gone := read(REGISTRY_MEMBERS, record).event, ContributorDraining | ContributorLeft):
            leaving.add(gone.contributor)
    found.leaving = frozenset(leaving)
    return found


def check_slots(published: Published, settled: Settled) -> None:
    """That slots hold orders as they were given, each once, and were filled as planned. Raises ``Difference``."""
    given = {said.event.payout: said for said in published.orders}
    came_back: set[str] = set()
    for slot, said in sorted(settled.planned.items()):
        plan, filled = said.event, settled.filled.get(slot)
        for index, order in enumerate(plan.orders):
            known = given.get(order.payout)
            if known is None or (known.event.recipient, known.event.amount) != (order.recipient, order.amount):
                raise difference(
                    f"Slot {slot} pays something else than was ordered.",
                    published=f"{order.amount} to {order.recipient} for {order.payout}",
                    found="no such order" if known is None else f"{known.event.amount} to {known.event.recipient}",
                    behind=[said.spot, *([] if known is None else [known.spot])],
                )
            if filled is None:
                continue
            if index in settled.missed.get(slot, {}):
                came_back.add(order.payout)
            elif order.payout in settled.paid:
                first = settled.paid[order.payout]
                raise difference(
                    f"{order.payout} was paid twice.",
                    published=f"slots {first} and {slot}",
                    found="once",
                    behind=[settled.planned[first].spot, said.spot, filled.spot],
                )
            else:
                settled.paid[order.payout] = slot
        _check_filled(said, filled, settled)
    for slot, filled in sorted(settled.filled.items()):
        if slot not in settled.planned:
            raise difference(
                f"Slot {slot} was filled, and treasury has not planned it.",
                published=f"SlotFilled, {filled.event.total}",
                found="a SlotPlanned with its orders",
                behind=[filled.spot],
            )
    settled.unpaid = frozenset(came_back)


def _check_filled(said: Said[SlotPlanned], filled: Said[SlotFilled] | None, settled: Settled) -> None:
    plan = said.event
    asset = Asset.parse(plan.asset)
    orders = tuple(Order(order.recipient, order.amount) for order in plan.orders)
    total = sum(order.amount for order in orders)
    digest = batch_digest(
        chain_id=asset.chain_id,
        contract=plan.contract,
        slot=plan.slot,
        epoch_root=plan.epoch_root,
        asset=asset.contract or ETH,
        orders=orders,
    )
    facts = [("digest", plan.digest, digest), ("total", plan.total, total)]
    if filled is not None:
        missed = sum(each.event.amount for each in settled.missed.get(plan.slot, {}).values())
        facts += [
            ("digest on the chain", filled.event.digest, digest),
            ("total on the chain", filled.event.total, total),
            ("epoch root on the chain", filled.event.epoch_root, plan.epoch_root),
            ("number of payees", filled.event.payees, len(orders)),
            ("unpaid total", filled.event.unpaid_total, missed),
        ]
    for name, told, found in facts:
        if told != found:
            raise difference(
                f"Slot {plan.slot} does not come out: its {name} differs.",
                published=told,
                found=found,
                behind=[said.spot, *([] if filled is None else [filled.spot])],
            )
