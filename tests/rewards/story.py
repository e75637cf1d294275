"""Stories for rewards: who says what on which topic, when. Time is an argument, and every step is checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, TypeVar

from eth_account import Account as Wallet
from nacl.signing import SigningKey

from millpond.events.chain_revenue import FeesWithdrawn, IncomeReconciled, IncomeUnexplained, TicketRedeemed
from millpond.events.chain_transfers import ETH as ETH_CONTRACT
from millpond.events.chain_transfers import PayeeUnpaid, SlotFilled
from millpond.events.event import Event
from millpond.events.ids import job_id, line_id
from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded, Watermark
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.pool_terms import TermsPublished
from millpond.events.rewards_epochs import EpochClosed, EpochClosing
from millpond.events.rewards_payouts import PayoutOrdered
from millpond.events.rewards_statements import StatementIssued
from millpond.events.scheduler_assignments import AgreedPrice
from millpond.events.topic import Topic, Written
from millpond.events.topics import (
    JOB_PARTITIONS,
    METERING_USAGE,
    REWARDS_EPOCHS,
    TOPICS,
)
from millpond.events.treasury_settlements import SlotOrder, SlotPlanned
from millpond.identity import CloseEpoch, Domain, sign_action
from millpond.identity.device_signature import device_message
from millpond.money import Asset
from millpond.proofs.checkpoint import KIND, sign_checkpoint
from millpond.stream.decision import Decision, Outgoing, Received, Tick
from millpond.stream.outlet import partition_of
from millpond.stream.record import OUTBOX, OutboxNumber, Place, Record
from millpond.terms import Terms, canonical, read_terms_file, terms_hash
from millpond_rewards.app import METERED
from millpond_rewards.rules import READS, Pool, State, decide, fold, recall
from millpond_rewards.rules.closing import END
from millpond_rewards.rules.state import Asked
from rewards.invariants import check

EXAMPLE: Final = Path(__file__).parents[2] / "services" / "millpond_demo" / "terms.yaml"
POOL_ID: Final = "pond"
DOMAIN: Final = Domain(pool=POOL_ID, chain_id=31_337)
ETH: Final = str(Asset(DOMAIN.chain_id))
OPERATOR_KEY: Final = "0x" + "11" * 32
OPERATOR: Final = str(Wallet.from_key(OPERATOR_KEY).address)
ORCHESTRATOR: Final = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
CONTRACT: Final = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
START_MS: Final = 1_767_225_600_000
TOPIC_OF: Final = {event: topic for topic in TOPICS.values() for event in topic.events}

AnEvent = TypeVar("AnEvent", bound=Event)

SIGNING_KEY: Final = SigningKey(b"rewards".ljust(32, b"."))
PUBLIC_KEY: Final = "0x" + SIGNING_KEY.verify_key.encode().hex()


def sign(text: str) -> str:
    return "0x" + SIGNING_KEY.sign(device_message(pool=POOL_ID, kind=KIND, text=text)).signature.hex()


POOL: Final = Pool(DOMAIN, frozenset({OPERATOR}), None, partial(sign_checkpoint, sign=sign))


def digest(*facts: object) -> str:
    return "0x" + hashlib.sha256(repr(facts).encode()).hexdigest()


@cache
def contributor(number: int) -> str:
    """A wallet's address, with its checksum; the same for the same number."""
    return str(Wallet.from_key(hashlib.sha256(f"contributor {number}".encode()).digest()).address)


ANN, BEN, CAT = (contributor(number) for number in range(3))


@cache
def _example() -> str:
    return canonical(read_terms_file(EXAMPLE))


def terms(version: int = 1, *, effective_from_epoch: int = 0, **sections: Mapping[str, Any]) -> TermsPublished:
    """The demo's, with some fields of its sections changed; a minimum of 0, a window of 60 s."""
    document = json.loads(_example())
    document |= {"pool": POOL_ID, "version": version, "effective_from_epoch": effective_from_epoch}
    document["payout"] |= {"minimum": {"ETH": "0"}, "challenge_window_s": 60}
    for section, changes in sections.items():
        document[section] |= changes
    text = canonical(Terms.model_validate_json(json.dumps(document)))
    return TermsPublished(
        version=version,
        effective_from_epoch=effective_from_epoch,
        terms_hash=terms_hash(text),
        document=text,
        signer=OPERATOR,
        nonce=version,
        signature="0x",
    )


def commission(share_ppm: int) -> dict[str, int]:
    return {"operator_share_ppm": share_ppm, "contributors_share_ppm": 1_000_000 - share_ppm}


def line(
    who: str, quantity: int, *, number: int, held: str | None = None, wei: int = 12, per_units: int = 1
) -> UsageLine:
    """A usage line; ``number`` makes it another job's."""
    job = job_id("acme", str(number))
    facts: dict[str, Any] = {
        "line": line_id(job, 1, 0),
        "job": job,
        "attempt": 1,
        "window": 0,
        "contributor": who,
        "device": digest("device", who),
        "gpu": job_id("gpu", who),
        "gateway": "acme",
        "workload": "transcode",
        "unit": "pixel",
        "quantity": quantity,
        "claimed": quantity,
        "counted": quantity,
        "price": AgreedPrice(unit="pixel", wei=wei, per_units=per_units),
        "terms_hash": digest("terms"),
        "result": digest("result", number),
        "sources": (),
        "receipt": "0x" + "00" * 64,
    }
    if held is None:
        return UsageRecorded(**facts)
    return UsageHeld(**facts, reason=held, sentence="It is looked at.")


def block(number: int) -> dict[str, Any]:
    return {
        "chain_id": DOMAIN.chain_id,
        "block_number": number,
        "block_hash": digest("block", number),
        "block_time": datetime.fromtimestamp(START_MS / 1000 + number, tz=UTC),
    }


def ticket(amount: int, *, number: int, finality: str = "final", in_block: int | None = None) -> TicketRedeemed:
    return TicketRedeemed(
        **block(number if in_block is None else in_block),
        transaction=digest("redeem", number),
        finality=finality,  # type: ignore[arg-type]
        log_index=0,
        orchestrator=ORCHESTRATOR,
        sender=BEN,
        face_value=amount,
        amount=amount,
        ticket=digest("ticket", number),
    )


def withdrawn(amount: int, *, number: int) -> FeesWithdrawn:
    return FeesWithdrawn(
        **block(number),
        transaction=digest("withdraw", number),
        finality="final",
        log_index=0,
        orchestrator=ORCHESTRATOR,
        recipient=CONTRACT,
        amount=amount,
    )


def unexplained(number: int) -> IncomeUnexplained:
    return IncomeUnexplained(
        **block(number), orchestrator=ORCHESTRATOR, expected=1, found=2, sentence="A wei too many."
    )


def reconciled(number: int) -> IncomeReconciled:
    return IncomeReconciled(**block(number), orchestrator=ORCHESTRATOR, expected=1, found=1)


def planned(slot: int, orders: Sequence[PayoutOrdered], as_of: datetime | None = None) -> SlotPlanned:
    return SlotPlanned(
        slot=slot,
        contract=CONTRACT,
        epoch=max(order.epoch for order in orders),
        epoch_root=digest("root"),
        asset=ETH,
        orders=tuple(
            SlotOrder(payout=order.payout, recipient=order.recipient, amount=order.amount) for order in orders
        ),
        total=sum(order.amount for order in orders),
        digest=digest("slot", slot),
        as_of=as_of or datetime.fromtimestamp(START_MS / 1000, tz=UTC),
    )


def filled(plan: SlotPlanned, *, unpaid: Iterable[int] = (), **changes: Any) -> list[SlotFilled | PayeeUnpaid]:
    """What the chain says of a batch once it is final; ``unpaid``: the indexes of who could not take it."""
    at = {**block(1_000 + plan.slot), "transaction": digest("fill", plan.slot), "finality": "final"}
    missed = [plan.orders[index].amount for index in unpaid]
    slot = SlotFilled(
        **{
            **at,
            "log_index": 0,
            "contract": CONTRACT,
            "slot": plan.slot,
            "digest": plan.digest,
            "epoch_root": plan.epoch_root,
            "asset": ETH_CONTRACT,
            "total": plan.total,
            "payees": len(plan.orders),
            "unpaid_total": sum(missed),
            **changes,
        }
    )
    payees = [
        PayeeUnpaid(
            **at,
            log_index=1 + index,
            contract=CONTRACT,
            slot=plan.slot,
            index=index,
            recipient=plan.orders[index].recipient,
            amount=plan.orders[index].amount,
        )
        for index in unpaid
    ]
    return [slot, *payees]


def close_command(epoch: int, nonce: int, key: str = OPERATOR_KEY) -> OperatorCommanded:
    signed = sign_action(CloseEpoch(epoch=epoch, nonce=nonce), domain=DOMAIN, private_key=key)
    return OperatorCommanded(
        signer=signed.signer, action=signed.action, message=dict(signed.message), signature=signed.signature
    )


def watermarks(closing: EpochClosing) -> list[tuple[Watermark, int]]:
    """Each with the partition of the usage lines that it goes to."""
    return [
        (
            Watermark(
                epoch=closing.epoch,
                partition=partition,
                ends={topic: ends[partition] for topic, ends in closing.ends.items()},
            ),
            copy,
        )
        for partition in range(JOB_PARTITIONS)
        for copy in range(METERING_USAGE.partitions)
    ]


ENDS: Final = {topic.name: tuple(range(JOB_PARTITIONS)) for topic in METERED}


@dataclass
class Story:
    """``said``: what rewards has published, in order. ``logs``: everything, as it stands on the topics."""

    pool: Pool = POOL
    state: State = field(default_factory=State)
    now_ms: int = START_MS
    said: list[Outgoing] = field(default_factory=list)
    own: list[Record] = field(default_factory=list)
    logs: dict[Place, list[Record]] = field(default_factory=dict)
    timers: dict[str, int] = field(default_factory=dict)
    unread: frozenset[Place] = frozenset()
    numbers: dict[str, int] = field(default_factory=dict)
    previous: dict[tuple[str, Place], int] = field(default_factory=dict)

    def tell(self, *events: Event, key: str = "key", partition: int | None = None) -> Story:
        """Somebody publishes, and rewards reads it."""
        for event in events:
            self.hear(self.put(event, key, partition))
        return self

    def put(self, event: Event, key: str = "key", partition: int | None = None) -> Record:
        """It stands on its topic, and nobody has read it."""
        topic = TOPIC_OF[type(event)]
        if isinstance(event, UsageRecorded | UsageHeld):
            key = event.contributor
        chosen = partition_of(key.encode(), topic.partitions) if partition is None else partition
        return self._append(topic, chosen, key, event, self.now_ms)

    def hear(self, record: Record) -> None:
        self._take(decide(self.state, self.received(record), pool=self.pool))

    def received(self, record: Record) -> Received:
        topic = TOPICS[record.topic]
        kind = topic.event_types[dict(record.headers)["ce_type"].decode()]  # type: ignore[union-attr]
        event = kind.model_validate_json(record.value or b"")
        key = (record.key or b"").decode()
        return Received(
            record.topic,
            record.place,
            record.offset,
            key,
            event,
            record.timestamp_ms,
            record.value or b"",
            ENDS,
            record=record,
        )

    def wait(self, seconds: float = 0) -> Story:
        """Time passes, and every timer goes off when it is due."""
        end_ms = self.now_ms + round(seconds * 1000)
        while due := [(at_ms, name) for name, at_ms in self.timers.items() if at_ms <= end_ms]:
            at_ms, name = min(due)
            del self.timers[name]
            self.now_ms = max(self.now_ms, at_ms)
            self._take(decide(self.state, Tick(name, self.now_ms, self.unread), pool=self.pool))
        self.now_ms = end_ms
        return self

    def close(self) -> EpochClosed:
        """The operator closes the open epoch, metering answers, and it is closed.

        As if his order had been read and verified: in pure Python a signature takes a tenth of a second.
        """
        self.state = replace(self.state, asked=(Asked(OPERATOR, self._nonce(), self.state.epoch),))
        self.timers[END] = 0
        self.wait()
        for watermark, copy in watermarks(self.last(EpochClosing)):
            self.tell(watermark, partition=copy)
        self.wait()
        return self.last(EpochClosed)

    def end_by_command(self) -> Story:
        return self.tell(close_command(self.state.epoch, self._nonce()), key="rewards")

    def _nonce(self) -> int:
        self.numbers["operator's nonce"] = self.numbers.get("operator's nonce", 0) + 1
        return self.numbers["operator's nonce"]

    def all(self, kind: type[AnEvent]) -> list[AnEvent]:
        return [out.event for out in self.said if isinstance(out.event, kind)]

    def last(self, kind: type[AnEvent]) -> AnEvent:
        return self.all(kind)[-1]

    def amounts(self, epoch: int | None = None) -> dict[str, int]:
        """By contributor, of the statements of one epoch, or of the last."""
        epoch = self.last(EpochClosed).epoch if epoch is None else epoch
        return {each.contributor: each.amount for each in self.all(StatementIssued) if each.epoch == epoch}

    def rebuilt(self) -> Story:
        """Another rewards that has lost its database: its own words are folded, then all that it had read is recalled."""
        again = Story(self.pool, now_ms=self.now_ms, said=[*self.said], own=[*self.own])
        again.logs = {place: [*records] for place, records in self.logs.items()}
        again.numbers, again.previous = {**self.numbers}, {**self.previous}
        for record in self.own:
            again._keep(fold(again.state, again.received(record), pool=self.pool))
        for records in self.logs.values():
            for record in records:
                again._keep(recall(again.state, again.received(record), pool=self.pool))
        return again

    def _keep(self, decision: Decision[State]) -> None:
        assert not decision.events
        self.state = decision.state
        self._set(decision)

    def _take(self, decision: Decision[State]) -> None:
        before, self.state = self.state, decision.state
        if decision.events or before.ledger is not self.state.ledger:
            check(self.state, decision.events)
        self._set(decision)
        heard = []
        for out in decision.events:
            self.said.append(out)
            partition = partition_of(out.key.encode(), out.topic.partitions)
            record = self._append(out.topic, partition, out.key, out.event, out.time_ms)
            self.own.append(record)
            if out.topic is REWARDS_EPOCHS:
                heard.append(record)
        for record in heard:
            self.hear(record)

    def _set(self, decision: Decision[State]) -> None:
        for timer in decision.timers:
            self.timers.pop(timer.name, None)
            if timer.at_ms is not None:
                self.timers[timer.name] = timer.at_ms

    def _append(self, topic: Topic, partition: int, key: str, event: Event, time_ms: int) -> Record:
        place = Place(topic.name, partition)
        headers = [("ce_type", event.type_name.encode())]
        if topic.written is Written.BY_PROCESS:
            number = self.numbers[topic.owner] = self.numbers.get(topic.owner, 0) + 1
            outbox = OutboxNumber(topic.owner, number, self.previous.get((topic.owner, place), 0))
            self.previous[topic.owner, place] = number
            headers.append((OUTBOX, outbox.to_header()))
        record = Record(
            topic.name,
            partition,
            # Ours are kept apart, but for those that rewards reads back.
            len([each for each in self.logs.get(place, []) if each.place == place]),
            key.encode(),
            event.to_bytes(),
            tuple(headers),
            time_ms,
        )
        if topic in READS:
            self.logs.setdefault(place, []).append(record)
        return record
