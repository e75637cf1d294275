"""Stories for treasury: what rewards orders, what the chain answers, what time it is. All of it given, nothing asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, TypeVar

from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled, TreasuryTransaction
from millpond.events.event import Event
from millpond.events.ids import payout_id
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import Checkpoint, EpochClosed
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.treasury_settlements import (
    FeesWithdrawalAsked,
    FeesWithdrawalSigned,
    FloatAsked,
    SlotPlanned,
    SlotSigned,
    SlotSigningAsked,
)
from millpond.identity import WithdrawFees, sign_action
from millpond.stream.decision import Decision, Received, Tick
from millpond.stream.record import Place
from millpond_treasury.rules import State, Treasury, decide, fold, recall
from millpond_treasury.rules.findings import Finding, Float, NotNow, Sent, Signed
from rewards.story import (
    ANN,
    BEN,
    CAT,
    CONTRACT,
    DOMAIN,
    OPERATOR,
    OPERATOR_KEY,
    ORCHESTRATOR,
    PUBLIC_KEY,
    START_MS,
    TOPIC_OF,
    Story,
    block,
    digest,
    filled,
    line,
    terms,
    ticket,
)

ETHER: Final = 10**18
WALLET: Final = "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65"
TREASURY: Final = Treasury(
    domain=DOMAIN,
    operators=frozenset({OPERATOR}),
    address=WALLET,
    contract=CONTRACT,
    orchestrator=ORCHESTRATOR,
    withdraws=True,
    orders_max=10,
    bump_after_ms=60_000,
    send_again_ms=5_000,
)
OWN: Final = TOPIC_OF[SlotPlanned]

E = TypeVar("E", bound=Event)


def offered(receipt_key: str = PUBLIC_KEY) -> TermsPublished:
    """The terms of the epoch, with the key that rewards' checkpoints are signed with."""
    published = terms()
    document = json.loads(published.document) | {"receipt_key": receipt_key}
    return published.model_copy(update={"document": json.dumps(document)})


@cache
def epoch() -> Story:
    """rewards closes an epoch over 1.8 ETH, half Ann's, a third Ben's, the rest Cat's, and orders all of it."""
    story = Story()
    story.tell(terms(), ticket(2 * ETHER, number=1))
    story.tell(*(line(who, 100 * part, number=part) for part, who in ((3, ANN), (2, BEN), (1, CAT))))
    story.close()
    return story.wait(60)


def ordered() -> list[PayoutOrdered]:
    return epoch().all(PayoutOrdered)


@dataclass
class Desk:
    """Treasury's rules at work. ``answers`` may replace what the chain would say to a question: None leaves it open."""

    treasury: Treasury = TREASURY
    state: State = field(default_factory=State)
    now_ms: int = START_MS + 3_600_000
    said: list[Event] = field(default_factory=list)
    heard: list[Received] = field(default_factory=list)
    timer_ms: int | None = None
    balance: int = 10 * ETHER
    unread: frozenset[Place] = frozenset()
    answers: Callable[[Event], Finding | None] | None = None

    def believe(self) -> Desk:
        """The terms and the checkpoint are there."""
        return self.tell(offered(), epoch().last(EpochClosed), epoch().last(Checkpoint))

    def tell(self, *events: Event) -> Desk:
        for event in events:
            received = self._received(event)
            self.heard.append(received)
            self._take(decide(self.state, received, treasury=self.treasury))
        return self

    def wait(self, seconds: float = 0) -> Desk:
        """Time passes; what treasury asks the chain is answered at once."""
        end_ms = self.now_ms + round(seconds * 1000)
        while self.timer_ms is not None and self.timer_ms <= end_ms:
            self.now_ms, self.timer_ms = max(self.now_ms, self.timer_ms), None
            self._take(decide(self.state, Tick("turn", self.now_ms, self.unread), treasury=self.treasury))
        self.now_ms = end_ms
        return self

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.said if isinstance(event, kind)]

    def last(self, kind: type[E]) -> E:
        return self.all(kind)[-1]

    def fill(self, plan: SlotPlanned | None = None, **changes: Any) -> Desk:
        """The chain fills the slot that was planned last, for good."""
        return self.tell(*filled(plan or self.last(SlotPlanned), **changes)).wait()

    def rebuilt(self) -> Desk:
        """Another treasury that has lost its database: its own words are folded, then all it had read is recalled."""
        again = replace(self, state=State(), said=[*self.said], heard=[*self.heard], timer_ms=0)
        for event in self.said:
            again.state = fold(again.state, self._received(event), treasury=self.treasury).state
        for received in self.heard:
            again.state = recall(again.state, received, treasury=self.treasury).state
        return again

    def read_back(self, event: Event, finding: Finding) -> None:
        self._take(decide(self.state, self._received(event)._replace(finding=finding), treasury=self.treasury))

    def _take(self, decision: Decision[State]) -> None:
        self.state = decision.state
        for timer in decision.timers:
            self.timer_ms = timer.at_ms
        events = [outgoing.event for outgoing in decision.events]
        self.said += events
        for event in events:
            if (finding := self._answer(event)) is not None:
                self.read_back(event, finding)

    def _answer(self, event: Event) -> Finding | None:
        return self.answers(event) if self.answers is not None else self.chain(event)

    def chain(self, event: Event) -> Finding | None:
        """What a chain in good health says."""
        match event:
            case FloatAsked():
                return Float(self.balance, 1, False, self.now_ms)
            case SlotSigningAsked() | FeesWithdrawalAsked():
                return self.signed(event)
            case SlotSigned() | FeesWithdrawalSigned():
                return Sent("accepted", "", self.now_ms)
            case _:
                return None

    def signed(self, event: SlotSigningAsked | FeesWithdrawalAsked) -> Signed:
        nonce = event.nonce if event.nonce is not None else max(event.nonce_min, 7)
        about = event.slot if isinstance(event, SlotSigningAsked) else event.withdrawal
        fees = event.fee_per_gas_above + 2, event.priority_fee_above + 1
        return Signed(WALLET, nonce, digest(about, event.version), "0x02", 100_000, *fees, self.now_ms)

    def not_now(self, reason: str = "chain-away") -> NotNow:
        return NotNow(reason, "Not now.", self.now_ms)

    def _received(self, event: Event) -> Received:
        topic = TOPIC_OF.get(type(event), OWN)
        return Received(topic.name, Place(topic.name, 0), 0, "key", event, self.now_ms, event.to_bytes())


def transaction(nonce: int, hash_: str, *, succeeded: bool = True) -> TreasuryTransaction:
    return TreasuryTransaction(
        **block(3_000 + nonce),
        transaction=hash_,
        finality="final",
        sender=WALLET,
        nonce=nonce,
        to=CONTRACT,
        succeeded=succeeded,
        gas_used=1,
        gas_paid=1,
        value=0,
    )


def withdraw(amount: int, *, recipient: str = WALLET, nonce: int = 1) -> OperatorCommanded:
    action = WithdrawFees(amount=amount, recipient=recipient, nonce=nonce)
    by = sign_action(action, domain=DOMAIN, private_key=OPERATOR_KEY)
    return OperatorCommanded(signer=by.signer, action=by.action, message=dict(by.message), signature=by.signature)


def forged(order: PayoutOrdered, **changes: Any) -> PayoutOrdered:
    """As anybody could write it who may write to the topic; its id fits."""
    forgery = order.model_copy(update=changes)
    identity = payout_id(forgery.epoch, forgery.contributor, forgery.asset)
    return PayoutOrdered.model_validate(forgery.model_copy(update={"payout": identity}).model_dump())


def of_slot(events: list[SlotFilled | PayeeUnpaid], finality: str) -> list[Event]:
    return [event.model_copy(update={"finality": finality}) for event in events]
