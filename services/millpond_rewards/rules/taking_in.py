"""What an input leaves in the state, whether it is decided on now or read again by a rebuild. Decides nothing."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.chain_revenue import FeesWithdrawn, IncomeReconciled, IncomeUnexplained, TicketRedeemed
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled
from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded, Watermark
from millpond.events.pool_terms import TermsPublished
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorDraining,
    ContributorLeft,
    DeviceRegistered,
)
from millpond.events.treasury_settlements import SlotPlanned
from millpond.money.asset import Asset
from millpond.stream.decision import Received
from millpond.terms.terms import Terms
from millpond_rewards.rules.bookings import of_ticket, of_withdrawal
from millpond_rewards.rules.cut import PlaceTally
from millpond_rewards.rules.lines import key_of
from millpond_rewards.rules.slots import on_filled, on_planned, on_unpaid
from millpond_rewards.rules.state import Offer, Reconciliation, State, covers


def taken_in(state: State, received: Received) -> State:
    """``received`` counts in the open epoch, unless an earlier cut covers it (a rebuild reads it again)."""
    tally = state.tallies.get(received.place, PlaceTally())
    is_new = received.offset >= tally.next_offset
    if is_new:
        assert received.record is not None, "a cut is a hash over records"
        tallied = tally.with_record(received.record, received.offset)
        state = replace(state, tallies={**state.tallies, received.place: tallied})
    match received.event:
        case UsageRecorded() | UsageHeld() as line:
            return _line(state, received, line) if is_new else state
        case Watermark() as watermark:
            return _watermark(state, received, watermark) if is_new else state
        case TicketRedeemed(finality="final") as ticket:
            return _ticket(state, ticket, is_new)
        case FeesWithdrawn(finality="final") as withdrawn:
            asset = str(Asset(withdrawn.chain_id))
            booked = of_withdrawal(withdrawn.transaction, asset, withdrawn.amount)
            return replace(state, ledger=state.ledger.post([booked]))
        case IncomeReconciled() | IncomeUnexplained() as found:
            return _reconciled(state, found)
        case SlotPlanned() as planned:
            return on_planned(state, planned)
        case SlotFilled(finality="final") as filled:
            return on_filled(state, filled)
        case PayeeUnpaid(finality="final") as unpaid:
            return on_unpaid(state, unpaid)
        case TermsPublished() as published:
            return _terms(state, received, published)
        case ContributorDraining(contributor=who) | ContributorLeft(contributor=who):
            return replace(state, leaving=state.leaving | {who})
        case ContributorAdmitted(contributor=who) | DeviceRegistered(contributor=who):
            return replace(state, leaving=state.leaving - {who})
        case _:
            # Observed and not final, of other people's concern, or our own words coming back.
            return state


def _line(state: State, received: Received, line: UsageLine) -> State:
    # A readmitted line stands on our own dead letters, in the partition that it had.
    partition = received.place.partition
    fold = state.lines[partition].copy()
    fold.add(key_of(line), line.quantity, received.value)
    return replace(state, lines=(*state.lines[:partition], fold, *state.lines[partition + 1 :]))


def _watermark(state: State, received: Received, watermark: Watermark) -> State:
    if state.closing is None or not covers(state.closing, watermark):
        return state
    seen = (received.place.partition, watermark.partition)
    return replace(state, watermarks=state.watermarks | {seen})


def _ticket(state: State, ticket: TicketRedeemed, is_new: bool) -> State:
    """A ticket is income once, for ever, however often and in whatever block it becomes final."""
    if ticket.ticket in state.tickets:
        return state
    asset = str(Asset(ticket.chain_id))
    state = replace(
        state,
        tickets=state.tickets | {ticket.ticket},
        ledger=state.ledger.post([of_ticket(ticket.ticket, asset, ticket.amount)]),
    )
    if not is_new:
        return state
    return replace(state, income={**state.income, asset: state.income.get(asset, 0) + ticket.amount})


def _reconciled(state: State, found: IncomeReconciled | IncomeUnexplained) -> State:
    """The later block counts; of two about one block, that something is unexplained."""
    explained = isinstance(found, IncomeReconciled)
    known = state.reconciliation
    if known is not None and (known.block_number, not known.explained) > (found.block_number, not explained):
        return state
    return replace(state, reconciliation=Reconciliation(found.block_number, explained))


def _terms(state: State, received: Received, published: TermsPublished) -> State:
    offer = Offer(
        received.offset,
        published.version,
        published.effective_from_epoch,
        published.terms_hash,
        Terms.model_validate_json(published.document),
    )
    began_ms = received.stamp_ms if state.began_ms is None else state.began_ms
    return replace(state, offers=(*state.offers, offer), began_ms=began_ms)
