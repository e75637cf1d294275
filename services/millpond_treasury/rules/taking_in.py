"""What an input leaves in the state, whether it is decided on now or read again by a rebuild. Decides nothing."""

from __future__ import annotations

from dataclasses import replace

from millpond.events.chain_revenue import FeesWithdrawn, IncomeReconciled, IncomeUnexplained
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.ids import withdrawal_id
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.identity.actions import WithdrawFees
from millpond.identity.errors import ActionRefused
from millpond.identity.signing import check_nonce, verify_action
from millpond.proofs.checkpoint import CheckpointRefused, check_checkpoint
from millpond.stream.decision import Received
from millpond.terms.terms import Terms
from millpond_treasury.rules.state import (
    ClosedEpoch,
    Reconciliation,
    SlotOnItsWay,
    State,
    Treasury,
    Waiting,
    Withdrawal,
)


def taken_in(treasury: Treasury, state: State, received: Received) -> State:
    match received.event:
        case PayoutOrdered() as order if order.payout not in state.planned:
            # One that is known already stays as it is; another under its id is none of its epoch's and contributor's.
            waiting = {order.payout: Waiting(order), **state.waiting}
            return replace(state, waiting=waiting, look_ms=0)
        case TermsPublished() as terms:
            key = Terms.model_validate_json(terms.document).receipt_key
            return _believed(treasury, replace(state, receipt_keys={**state.receipt_keys, terms.version: key}))
        case EpochClosed() as closed if closed.epoch not in state.roots:
            epoch = ClosedEpoch(received.value.decode(), closed.terms_version)
            return replace(state, closed={**state.closed, closed.epoch: epoch})
        case Checkpoint() as checkpoint if checkpoint.epoch in state.closed:
            epoch = replace(state.closed[checkpoint.epoch], checkpoint=checkpoint)
            return _believed(treasury, replace(state, closed={**state.closed, checkpoint.epoch: epoch}))
        case IncomeReconciled() | IncomeUnexplained() as found:
            return _reconciled(state, found)
        case FeesWithdrawn(finality="final") as withdrawn:
            return _withdrawn(state, withdrawn)
        case OperatorCommanded() as command:
            return _commanded(treasury, state, command)
        case SlotFilled() | PayeeUnpaid() | TreasuryTransaction() as transfer:
            return _moved(treasury, state, transfer)
        case _:
            return state


def _believed(treasury: Treasury, state: State) -> State:
    """Of each epoch that has its checkpoint and its terms' key: the root, if that key signed all of it."""
    for number, epoch in sorted(state.closed.items()):
        key = state.receipt_keys.get(epoch.terms_version)
        if key is None or epoch.checkpoint is None:
            continue
        try:
            closed = check_checkpoint(epoch.checkpoint, epoch.closed.encode(), pool=treasury.domain.pool, key=key)
        except CheckpointRefused:
            # Its orders wait for a checkpoint that is none, and say so.
            continue
        # What all epochs come to: more than before, or the same.
        earned = {pot.asset: max(pot.contributors_total, state.earned.get(pot.asset, 0)) for pot in closed.pots}
        state = replace(
            state,
            closed={other: each for other, each in state.closed.items() if other != number},
            roots={**state.roots, number: closed.root},
            earned={**state.earned, **earned},
            look_ms=0,
        )
    return state


def _reconciled(state: State, found: IncomeReconciled | IncomeUnexplained) -> State:
    """The later block counts; of two about one block, that something is unexplained."""
    explained = isinstance(found, IncomeReconciled)
    known = state.reconciliation
    if known is not None and (known.block_number, not known.explained) > (found.block_number, not explained):
        return state
    return replace(state, reconciliation=Reconciliation(found.block_number, explained), look_ms=0)


def _withdrawn(state: State, withdrawn: FeesWithdrawn) -> State:
    """Money has come, ours or by another hand: who waited for it is looked at again."""
    own = state.withdrawal
    if own is not None and withdrawn.transaction in own.sending.hashes:
        state = replace(state, withdrawal=None)
    slot = state.slot
    if slot is not None and slot.signed is None:
        state = replace(state, slot=replace(slot, sending=replace(slot.sending, again_ms=0)))
    return replace(state, look_ms=0)


def _commanded(treasury: Treasury, state: State, command: OperatorCommanded) -> State:
    """A command that isn't the operator's, or that was answered before, is nobody's business."""
    if command.action != WithdrawFees.__name__:
        return state
    try:
        action = verify_action(command, domain=treasury.domain, signers=treasury.operators)
        assert isinstance(action, WithdrawFees)
        check_nonce(state.command_nonces.get(command.signer), action.nonce)
    except ActionRefused:
        return state
    identity = withdrawal_id(command.signer, action.nonce)
    asked = Withdrawal(identity, action.amount, action.recipient, command.signer, action.nonce)
    return replace(
        state,
        withdrawals=(*state.withdrawals, asked),
        command_nonces={**state.command_nonces, command.signer: action.nonce},
    )


def _moved(treasury: Treasury, state: State, event: SlotFilled | PayeeUnpaid | TreasuryTransaction) -> State:
    own = state.slot
    match event:
        case SlotFilled() if event.contract == treasury.contract:
            if own is not None and event.slot == own.plan.slot:
                return replace(state, slot=_filled(own, event))
            if event.slot >= state.next_slot and event.finality == "final":
                return replace(state, foreign_slot=event.slot)
        case PayeeUnpaid(finality="final") if own is not None and event.slot == own.plan.slot:
            return replace(state, slot=replace(own, unpaid={**own.unpaid, event.index: event.amount}))
        case TreasuryTransaction(finality="final") if event.sender == treasury.address:
            state = replace(state, account_nonce=max(state.account_nonce, event.nonce + 1))
            return _nonce_used(state, event)
    return state


def _filled(own: SlotOnItsWay, event: SlotFilled) -> SlotOnItsWay:
    known = own.filled
    if known is not None and known.finality == "final":
        return own
    if event.finality == "orphaned":
        gone = known is not None and known.block_hash == event.block_hash
        return replace(own, filled=None) if gone else own
    return replace(own, filled=event)


def _nonce_used(state: State, event: TreasuryTransaction) -> State:
    """What a final block says of the nonce that is on its way. If it filled the slot, SlotFilled says so."""
    slot, withdrawal = state.slot, state.withdrawal
    if slot is not None and slot.signed is not None and event.nonce == slot.signed.nonce:
        own = event.transaction in slot.sending.hashes
        if own and event.succeeded:
            return state
        return replace(state, slot=replace(slot, nonce_used=True, reverts=slot.reverts + own))
    if withdrawal is not None and withdrawal.signed is not None and withdrawal.signed.sender == event.sender:
        own = event.transaction in withdrawal.sending.hashes
        if event.nonce == withdrawal.signed.nonce and not (own and event.succeeded):
            return replace(state, withdrawal=replace(withdrawal, failed=True))
    return state
