"""A registry without Kafka and database: people who sign, devices that beat, ticks that go off, and what it says to that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid5

from eth_account import Account

from millpond.events.agent_claims import Heartbeat
from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, LeaveAsked
from millpond.events.device_claims import Gpu, GpuLoad, HeartbeatClaim
from millpond.events.event import Event
from millpond.events.ids import NAMESPACE
from millpond.events.operator_commands import OperatorCommanded
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topic import Topic
from millpond.events.topics import (
    AGENT_ENROLMENTS,
    AGENT_HEARTBEATS,
    OPERATOR_COMMANDS,
    REWARDS_EPOCHS,
)
from millpond.identity import (
    Action,
    ApproveContributor,
    ContributorAction,
    DelegateDevice,
    DeviceKey,
    Domain,
    LeavePool,
    PublishTerms,
    RevokeDevice,
    sign_action,
)
from millpond.stream.decision import Input, Outgoing, Received, Tick
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond.terms import Terms, canonical, read_terms_file
from millpond_registry.rules import Pool, State, conclude, decide, fold

POOL_ID = "pond"
DOMAIN = Domain(pool=POOL_ID, chain_id=31_337)
OPERATORS_KEY = "0x" + "11" * 32
OPERATOR = Account.from_key(OPERATORS_KEY).address
POOL = Pool(DOMAIN, frozenset({OPERATOR}))
EXAMPLE = Path(__file__).parents[2] / "deploy" / "terms" / "example.yaml"
# 2026-01-01T00:00:00Z.
START_MS = 1_767_225_600_000
IN_A_YEAR_S = START_MS // 1000 + 365 * 86_400

SOFTWARE = Gpu(hardware_id="software", kind="software", model="2 cores", slots=2, workloads=("transcode",))

E = TypeVar("E", bound=Event)


def card(number: int = 1, model: str = "NVIDIA GeForce RTX 3090", memory_bytes: int | None = 24 * 2**30) -> Gpu:
    return Gpu(
        hardware_id=f"GPU-{number}",
        kind="nvidia",
        model=model,
        memory_bytes=memory_bytes,
        slots=4,
        workloads=("transcode",),
    )


def terms(version: int = 1, *, effective_from_epoch: int = 0, **sections: dict[str, Any]) -> Terms:
    """The example's, with some fields of its sections changed."""
    document = json.loads(canonical(read_terms_file(EXAMPLE)))
    document |= {"pool": POOL_ID, "version": version, "effective_from_epoch": effective_from_epoch}
    for section, changes in sections.items():
        document[section] |= changes
    return Terms.model_validate_json(json.dumps(document))


@dataclass
class Wallet:
    """A contributor. Its nonces rise by themselves."""

    name: str
    nonce: int = 0

    @cached_property
    def key(self) -> str:
        return "0x" + hashlib.sha256(self.name.encode()).hexdigest()

    @cached_property
    def address(self) -> str:
        return str(Account.from_key(self.key).address)

    def delegates(self, machine: Machine, **changes: Any) -> DeviceDelegated:
        facts = {"device": machine.device, "scope": "work", "expires_at": IN_A_YEAR_S, **changes}
        signed = self.signs(DelegateDevice(**{"nonce": self._next(), **facts}))
        return DeviceDelegated(**signed, consent=machine.consents_to(self.address))

    def revokes(self, machine: Machine) -> DeviceRevoked:
        return DeviceRevoked(**self.signs(RevokeDevice(device=machine.device, nonce=self._next())))

    def leaves(self, nonce: int | None = None) -> LeaveAsked:
        return LeaveAsked(**self.signs(LeavePool(nonce=self._next() if nonce is None else nonce)))

    def signs(self, action: ContributorAction) -> dict[str, Any]:
        signed = sign_action(action, domain=DOMAIN, private_key=self.key)
        return {**vars(signed), "message": dict(signed.message)}

    def _next(self) -> int:
        self.nonce += 1
        return self.nonce


@dataclass
class Machine:
    """A contributor's device and its agent."""

    name: str
    gpus: tuple[Gpu, ...] = (SOFTWARE,)
    sequence: int = 0
    session: str = ""

    def __post_init__(self) -> None:
        self.key = DeviceKey(hashlib.sha256(self.name.encode()).digest())
        self.session = self.session or str(uuid5(NAMESPACE, f"session/{self.name}"))

    @property
    def device(self) -> str:
        return self.key.device

    def consents_to(self, address: str) -> str:
        return self.key.sign(pool=POOL_ID, kind="Consent", text=address)

    def beats(self, *, running: int = 0, inventory: bool | None = None, leaving: bool = False) -> Heartbeat:
        """The inventory comes with the first beat of a session, or when asked for."""
        self.sequence += 1
        shown = self.gpus if (self.sequence == 1 if inventory is None else inventory) else None
        loads = tuple(
            GpuLoad(hardware_id=gpu.hardware_id, running=running if n == 0 else 0) for n, gpu in enumerate(self.gpus)
        )
        claim = HeartbeatClaim(
            session=self.session,
            sequence=self.sequence,
            time=datetime(2026, 1, 1, tzinfo=UTC),
            loads=loads,
            inventory=shown,
            leaving=leaving,
        )
        return self.claims(claim.model_dump_json())

    def claims(self, payload: str) -> Heartbeat:
        signature = self.key.sign(pool=POOL_ID, kind="Heartbeat", text=payload)
        return Heartbeat(device=self.device, payload=payload, signature=signature)


@dataclass
class Pond:
    """``said``: all that it said so far, in order. ``timers``: what is set, by name. ``refusals``: of signed actions."""

    state: State = field(default_factory=State)
    now_ms: int = START_MS
    said: list[Outgoing] = field(default_factory=list)
    timers: dict[str, int] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    _offset: int = 0
    _operator_nonce: int = 0

    def take(self, *inputs: Input) -> list[Event]:
        """As one transaction; returns what was said."""
        before = len(self.said)
        for each in inputs:
            decision = decide(POOL, self.state, each)
            self.state = decision.state
            self.said += decision.events
            self.refusals += [] if decision.refusal is None else [decision.refusal]
            for timer in decision.timers:
                self.timers.pop(timer.name, None)
                if timer.at_ms is not None:
                    self.timers[timer.name] = timer.at_ms
        concluded = conclude(self.state)
        self.state = concluded.state
        self.said += concluded.events
        return [outgoing.event for outgoing in self.said[before:]]

    def received(self, topic: Topic, key: str, event: Event, *, at_ms: int | None = None) -> Received:
        self._offset += 1
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        stamp_ms = self.now_ms if at_ms is None else at_ms
        return Received(topic.name, place, self._offset, key, event, stamp_ms, event.to_bytes())

    def enrols(self, event: DeviceDelegated | DeviceRevoked | LeaveAsked) -> list[Event]:
        return self.take(self.received(AGENT_ENROLMENTS, event.signer, event))

    def beat(self, heartbeat: Heartbeat, *, at_ms: int | None = None) -> list[Event]:
        return self.take(self.received(AGENT_HEARTBEATS, heartbeat.device, heartbeat, at_ms=at_ms))

    def orders(self, action: Action, *, key: str = OPERATORS_KEY, subject: str | None = None) -> list[Event]:
        signed = sign_action(action, domain=DOMAIN, private_key=key)
        command = OperatorCommanded(**{**vars(signed), "message": dict(signed.message)})
        return self.take(self.received(OPERATOR_COMMANDS, subject or subject_of(action), command))

    def nonce(self) -> int:
        self._operator_nonce += 1
        return self._operator_nonce

    def publishes(self, published: Terms) -> list[Event]:
        return self.orders(PublishTerms(version=published.version, document=canonical(published), nonce=self.nonce()))

    def approves(self, wallet: Wallet) -> list[Event]:
        return self.orders(ApproveContributor(contributor=wallet.address, nonce=self.nonce()))

    def closes(self, epoch: int) -> list[Event]:
        closing = EpochClosing(epoch=epoch, ends={}, as_of=datetime(2026, 1, 1, tzinfo=UTC))
        return self.take(self.received(REWARDS_EPOCHS, POOL_ID, closing))

    def passes(self, seconds: float, *, unread: frozenset[Place] = frozenset()) -> list[Event]:
        """Time passes, and what timers are set go off when they are due."""
        until_ms, said = self.now_ms + int(seconds * 1000), list[Event]()
        while due := sorted((at_ms, name) for name, at_ms in self.timers.items() if at_ms <= until_ms):
            at_ms, name = due[0]
            del self.timers[name]
            self.now_ms = max(self.now_ms, at_ms)
            said += self.take(Tick(name, self.now_ms, unread))
        self.now_ms = until_ms
        return said

    def lives(self, seconds: float, machines: Iterable[Machine], *, every_s: float = 5) -> list[Event]:
        """Time passes while these machines beat."""
        said = list[Event]()
        beating = list(machines)
        for _ in range(int(seconds / every_s)):
            said += self.passes(every_s)
            for machine in beating:
                said += self.beat(machine.beats())
        return said

    def member(self, wallet: Wallet, *machines: Machine) -> None:
        """The wallet's machines are in and beat."""
        for machine in machines:
            self.enrols(wallet.delegates(machine))
            self.beat(machine.beats())

    def standing(self, machine: Machine) -> list[str]:
        """Of each GPU, in the order of their ids, as it was last announced."""
        cards = self.state.cards.get(machine.device) or ()
        return [card.standing.state if card.standing else "unknown" for card in cards]

    def words(self, kind: type[E]) -> list[E]:
        return [outgoing.event for outgoing in self.said if isinstance(outgoing.event, kind)]

    def rebuilt(self) -> State:
        """What the registry would know from its own topics alone."""
        state = State()
        for offset, out in enumerate(self.said):
            topic = out.topic
            place = Place(topic.name, partition_of(out.key.encode(), topic.partitions))
            value = out.event.to_bytes()
            # From the bytes: what isn't in them is lost.
            event = topic.event_types[out.event.type_name].model_validate_json(value)
            state = fold(state, Received(topic.name, place, offset, out.key, event, out.time_ms, value)).state
        return state


def subject_of(action: Action) -> str:
    for name in ("contributor", "gateway"):
        if hasattr(action, name):
            return str(getattr(action, name))
    return POOL_ID


def open_pond(**sections: dict[str, Any]) -> Pond:
    """A pond with terms."""
    pond = Pond()
    pond.publishes(terms(**sections))
    return pond


def kinds(events: Iterable[Event]) -> list[str]:
    return [event.type_name for event in events]
