"""Statements, orders and settlements, as rewards and treasury say them."""

from __future__ import annotations

from datetime import UTC, datetime

from edge.pool import PoolLog
from millpond.events.event import Event
from millpond.events.ids import payout_id
from millpond.events.rewards_payouts import InclusionProof, PayoutOrdered, PayoutWithdrawn, StatementProof
from millpond.events.rewards_statements import StatementIssued
from millpond.events.topic import Topic
from millpond.events.topics import REWARDS_PAYOUTS, REWARDS_STATEMENTS, TREASURY_SETTLEMENTS
from millpond.events.treasury_settlements import FloatAsked, PayoutHeld, PayoutSettled

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)
ETH = "eip155:31337/slip44:60"
TRANSACTION = "0x" + "7a" * 32
# The last digits are what gets lost first.
WEI = 1_234_567_890_123_456_789
_TRUNK = InclusionProof(index=0, size=1, path=())


def statement(contributor: str, epoch: int = 0, **changes: object) -> StatementIssued:
    facts = {"amount": WEI, "cumulative": WEI * (epoch + 1), "weight": 7, "work": (), "index": 0, **changes}
    return StatementIssued(epoch=epoch, contributor=contributor, asset=ETH, **facts)  # type: ignore[arg-type]


def ordered(contributor: str, epoch: int = 0) -> PayoutOrdered:
    said = statement(contributor, epoch).to_bytes().decode()
    return PayoutOrdered(
        payout=payout_id(epoch, contributor, ETH),
        epoch=epoch,
        contributor=contributor,
        recipient=contributor,
        asset=ETH,
        amount=WEI,
        epochs=(epoch,),
        ordered_before=0,
        proof=StatementProof(epoch=epoch, statement=said, leaf=_TRUNK, tree=_TRUNK),
        as_of=NOON,
    )


def withdrawn(contributor: str, epoch: int = 0) -> PayoutWithdrawn:
    return PayoutWithdrawn(
        payout=payout_id(epoch, contributor, ETH),
        contributor=contributor,
        reason="disputed",
        sentence="A verdict could lower it.",
        as_of=NOON,
    )


def held(contributor: str, epoch: int = 0) -> PayoutHeld:
    sentence = "The treasury holds too little."
    return PayoutHeld(payout=payout_id(epoch, contributor, ETH), reason="float-low", sentence=sentence, as_of=NOON)


def settled(contributor: str, epoch: int = 0, **changes: object) -> PayoutSettled:
    facts = {"outcome": "paid", "slot": epoch, "transaction": TRANSACTION, **changes}
    return PayoutSettled(
        payout=payout_id(epoch, contributor, ETH),
        recipient=contributor,
        asset=ETH,
        amount=WEI,
        as_of=NOON,
        **facts,  # type: ignore[arg-type]
    )


def of_nobody(slot: int = 0) -> FloatAsked:
    """What treasury says that is no contributor's business."""
    return FloatAsked(slot=slot, as_of=NOON)


def topic_of(event: Event) -> Topic:
    return next(
        topic for topic in (REWARDS_STATEMENTS, REWARDS_PAYOUTS, TREASURY_SETTLEMENTS) if type(event) in topic.events
    )


def say(log: PoolLog, *events: Event) -> None:
    for event in events:
        key = getattr(event, "contributor", None) or getattr(event, "payout", "0")
        log.say(topic_of(event), key, event)
