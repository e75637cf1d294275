"""An epoch's way to its end: asked for or due, ending, closing, closed. One function a step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Literal

from millpond.events.event import Event
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.rewards_epochs import CloseRefused, EpochClosed, EpochClosing, EpochEnding, EpochWaits
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topics import REWARDS_EPOCHS, REWARDS_STATEMENTS
from millpond.identity.actions import CloseEpoch
from millpond.identity.errors import ActionRefused
from millpond.identity.signing import check_nonce, verify_action
from millpond.money.asset import Asset
from millpond.proofs.statement import prove_statements
from millpond.stream.decision import Decision, Outgoing, Received, Tick, Timer
from millpond_rewards.rules.bookings import of_closing
from millpond_rewards.rules.close import Inputs, TermsInForce, after_closing, close_epoch
from millpond_rewards.rules.cut import after_cut, cut_of
from millpond_rewards.rules.pots import Carried
from millpond_rewards.rules.state import Account, Asked, Pool, Said, State, Window
from millpond_rewards.rules.statements import Share
from millpond_rewards.rules.weights import LineFold

# The timers. A tick comes when all that stood on the inputs has been decided: so an epoch is closed at one.
END: Final = "end"
CLOSE: Final = "close"
RELEASE: Final = "release"

# How soon something that waits is looked at again. When it is looked at decides nothing but the delay.
AGAIN_MS: Final = 1_000

_REFUSALS: Final = {
    "another-epoch": "The epoch that is open is {epoch}, not {asked}.",
    "already-ending": "Epoch {epoch} is being closed already.",
    "no-terms": "The pool has no terms yet, so nothing says how to share.",
}


def on_commanded(pool: Pool, state: State, command: OperatorCommanded) -> Decision[State]:
    """A command that isn't the operator's, or that was answered before, is nobody's business; any other waits for its tick.

    Until then it isn't known what else stands on the inputs: terms, say, that were published before it.
    """
    if command.action != CloseEpoch.__name__:
        return Decision(state)
    try:
        action = verify_action(command, domain=pool.domain, signers=pool.operators)
        assert isinstance(action, CloseEpoch)
        check_nonce(state.nonces.get(command.signer), action.nonce)
    except ActionRefused:
        return Decision(state)
    asked = Asked(command.signer, action.nonce, action.epoch)
    state = with_nonce(replace(state, asked=(*state.asked, asked)), asked.signer, asked.nonce)
    return Decision(state, timers=(Timer(END, 0),))


def on_end(pool: Pool, state: State, tick: Tick) -> Decision[State]:
    """By the operator's order or by schedule, the epoch is ending; an order that ends nothing is answered with a reason."""
    events: list[Outgoing] = []
    for asked in state.asked:
        reason = _refusal(state, asked)
        if reason is None:
            ending = EpochEnding(epoch=state.epoch, as_of=tick.as_of, signer=asked.signer, nonce=asked.nonce)
            state = with_ending(state, ending)
            events.append(_out(pool, ending, tick.as_of_ms))
        else:
            sentence = _REFUSALS[reason].format(epoch=state.epoch, asked=asked.epoch)
            refused = CloseRefused(signer=asked.signer, nonce=asked.nonce, reason=reason, sentence=sentence)
            events.append(_out(pool, refused, tick.as_of_ms))
    state = replace(state, asked=())
    due_ms = end_due_ms(pool, state)
    if state.phase != "open" or due_ms is None:
        return Decision(state, tuple(events))
    if tick.as_of_ms < due_ms or state.offer() is None:
        return Decision(state, tuple(events), (Timer(END, max(due_ms, tick.as_of_ms + AGAIN_MS)),))
    scheduled = EpochEnding(epoch=state.epoch, as_of=tick.as_of)
    return Decision(with_ending(state, scheduled), (*events, _out(pool, scheduled, tick.as_of_ms)))


def on_ending_read(pool: Pool, state: State, received: Received, ending: EpochEnding) -> Decision[State]:
    """Our own word comes back, and with it where the logs end that metering decides from (``observe`` has looked)."""
    if state.phase != "ending" or ending.epoch != state.epoch:
        return Decision(state)
    assert isinstance(received.finding, Mapping)
    closing = EpochClosing(epoch=ending.epoch, ends=dict(received.finding), as_of=ending.as_of)
    return Decision(with_closing(state, closing), (_out(pool, closing, received.stamp_ms),))


def on_close(pool: Pool, state: State, tick: Tick) -> Decision[State]:
    """Everything is decided, and everything that stands on the inputs was read: the cut is here."""
    if not state.is_decided:
        return Decision(state)
    offer = state.offer()
    assert offer is not None, "an epoch ends under terms"
    if (found := obstacle(state, tick)) is not None:
        return waiting(pool, state, tick, state.epoch, "close", *found, again=CLOSE)
    force = TermsInForce(offer.version, offer.terms_hash, offer.terms, str(Asset(pool.domain.chain_id)))
    inputs = Inputs(cut_of(state.tallies), state.lines, state.income)
    closed = close_epoch(state.opening, inputs, force, tick.as_of)
    statements = [Outgoing(REWARDS_STATEMENTS, each.contributor, each, tick.as_of_ms) for each in closed.statements]
    events = (
        *statements,
        _out(pool, closed.epoch, tick.as_of_ms),
        _out(pool, pool.sign(closed.epoch), tick.as_of_ms),
    )
    issued = tuple(each.to_bytes().decode() for each in closed.statements)
    state = with_closed(replace(state, issued=issued), closed.epoch)
    return Decision(state, events, timers_after_closing(pool, state, closed.epoch))


def timers_after_closing(pool: Pool, state: State, closed: EpochClosed) -> tuple[Timer, ...]:
    """The window's end; and the next epoch's, which a rebuild looks at at once: a command may be waiting."""
    due_ms = end_due_ms(pool, state)
    return (
        Timer(CLOSE, None),
        Timer(f"{RELEASE}/{closed.epoch}", _ms(closed.payable_from.timestamp())),
        *(() if due_ms is None else (Timer(END, due_ms),)),
    )


def end_due_ms(pool: Pool, state: State) -> int | None:
    """When the schedule ends the open epoch; None without a schedule, or before there are terms."""
    if pool.epoch_ms is None or state.began_ms is None:
        return None
    return state.began_ms + pool.epoch_ms


def with_nonce(state: State, signer: str, nonce: int) -> State:
    return replace(state, nonces={**state.nonces, signer: max(nonce, state.nonces.get(signer, nonce))})


def with_ending(state: State, ending: EpochEnding) -> State:
    if ending.signer is not None and ending.nonce is not None:
        state = with_nonce(state, ending.signer, ending.nonce)
    return replace(state, phase="ending")


def with_closing(state: State, closing: EpochClosing) -> State:
    return replace(state, phase="closing", closing=closing, watermarks=frozenset())


def with_closed(state: State, closed: EpochClosed) -> State:
    """The next epoch is open. ``state.issued`` are this one's statements, as they stand on their topic."""
    before = state.opening
    issued = [StatementIssued.model_validate_json(each) for each in state.issued]
    previous, *line_roots = (
        bytes.fromhex(root[2:]) for root in (closed.previous_root, *(h.root for h in closed.lines))
    )
    accounts = dict(state.accounts)
    proofs = prove_statements(closed.epoch, previous, line_roots, [each.encode() for each in state.issued])
    for statement, proof in zip(issued, proofs, strict=True):
        share = Share(statement.contributor, statement.asset)
        known = accounts.get(share, Account())
        unpaid = {**known.unpaid, statement.epoch: statement.amount} if statement.amount else known.unpaid
        accounts[share] = replace(known, unpaid=unpaid, proofs=(*known.proofs, proof))
    booked = [of_closing(closed, before.carried.get(pot.asset, Carried()), pot, issued) for pot in closed.pots]
    as_of_ms = _ms(closed.as_of.timestamp())
    window = Window(closed.epoch, closed.terms_version, _ms(closed.payable_from.timestamp()))
    return replace(
        state,
        opening=after_closing(before, closed, issued),
        phase="open",
        closing=None,
        watermarks=frozenset(),
        began_ms=as_of_ms,
        tallies=after_cut(closed.cut),
        lines=tuple(LineFold() for _ in state.lines),
        income={},
        windows=(*state.windows, window),
        accounts=accounts,
        issued=(),
        said=frozenset(said for said in state.said if said.step != "close"),
        ledger=state.ledger.post(booked),
    )


def waiting(
    pool: Pool,
    state: State,
    tick: Tick,
    epoch: int,
    step: Literal["close", "payouts"],
    reason: str,
    sentence: str,
    *,
    again: str,
) -> Decision[State]:
    """Says why, once, and looks again by itself."""
    timers = (Timer(again, tick.as_of_ms + AGAIN_MS),)
    said = Said(epoch, step, reason)
    if said in state.said:
        return Decision(state, timers=timers)
    waits = EpochWaits(epoch=epoch, step=step, reason=reason, sentence=sentence, as_of=tick.as_of)
    return Decision(replace(state, said=state.said | {said}), (_out(pool, waits, tick.as_of_ms),), timers)


def obstacle(state: State, tick: Tick) -> tuple[str, str] | None:
    """Why money can't be counted now. If several apply, the first is given."""
    if tick.unread:
        places = ", ".join(map(str, sorted(tick.unread)))
        return "inputs-stopped", f"Not everything has been read: {places} waits. Whoever runs the pool sees why there."
    if state.reconciliation is not None and not state.reconciliation.explained:
        return "income-unexplained", "The chain says something else about the pool's income than its events do."
    return None


def _refusal(state: State, asked: Asked) -> str | None:
    if asked.epoch != state.epoch:
        return "another-epoch"
    if state.phase != "open":
        return "already-ending"
    return "no-terms" if state.offer() is None else None


def _out(pool: Pool, event: Event, time_ms: int) -> Outgoing:
    return Outgoing(REWARDS_EPOCHS, pool.domain.pool, event, time_ms)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
