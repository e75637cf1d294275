"""What the registry knows, frozen: who is in, which devices beat, which GPUs there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from millpond.events.device_claims import Gpu
from millpond.identity.signing import Domain
from millpond.stream.decision import Decision, Outgoing, Timer
from millpond.terms.terms import Terms
from millpond_registry.rules.table import Table

ContributorState = Literal["unknown", "waiting", "admitted", "draining", "left"]
PulseState = Literal["alive", "suspect", "gone"]
GpuState = Literal["online", "suspect", "draining", "gone", "refused"]

REVOKED = "revoked"


class Pool(NamedTuple):
    """Which pool this is, and whose signed orders count (checksum addresses)."""

    domain: Domain
    operators: frozenset[str]


@dataclass(frozen=True, slots=True)
class Published:
    """One version of the terms."""

    terms: Terms
    document: str
    stamp_ms: int


@dataclass(frozen=True, slots=True)
class Delegation:
    """A device that a wallet lets work; ``delegation`` is the SHA-256 of the DeviceDelegated event's bytes."""

    device: str
    delegation: str
    scope: str
    expires_at: datetime
    nonce: int


@dataclass(frozen=True, slots=True)
class Contributor:
    """``devices``: registered ones. ``pending``: asked in while waiting. ``revoked``: taken back before they were ever in.

    ``suspended`` outlives leaving: who was suspended doesn't come back in by himself. ``since_ms``: stamp of the last
    change of state. ``nonce``: the highest accepted; ``left_nonce``: that of the last LeavePool.
    """

    address: str
    state: ContributorState = "unknown"
    suspended: bool = False
    devices: tuple[str, ...] = ()
    pending: tuple[Delegation, ...] = ()
    revoked: frozenset[str] = frozenset()
    since_ms: int = 0
    nonce: int = -1
    left_nonce: int = -1


@dataclass(frozen=True, slots=True)
class Device:
    """A device that was registered once. ``removed``: the reason why it no longer is; None while it is."""

    contributor: str
    delegation: Delegation
    removed: str | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """A device's signs of life. ``seen_ms``: edge's stamp of the last. ``running``: attempts that it said it runs.

    (``session``, ``sequence``) of the last; ``sessions``: those that were before, and are over. None of it is on the
    registry's own topics: after a rebuild it is known again with the next heartbeat. ``partition``: where its
    heartbeats stand.
    """

    state: PulseState
    seen_ms: int
    session: str = ""
    sequence: int = 0
    sessions: tuple[str, ...] = ()
    running: int = 0
    partition: int = -1
    goodbye: bool = False


class Standing(NamedTuple):
    """How a GPU stands, and why. ``missing``: what the terms ask for and it hasn't."""

    state: GpuState
    reason: str = ""
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """One GPU of a device as it was last announced; ``standing`` is None if it never was."""

    hardware: Gpu
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Gateway:
    key_hash: str
    expires_at: datetime
    suspended: bool = False


class Capacity(NamedTuple):
    gpus: int = 0
    slots: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """Whether silence counts. ``excused_ms``: silence before it is nobody's. ``paused_ms``: since when none counts.

    ``judged_ms``: the last tick. ``ticking``: another one will come.
    """

    excused_ms: int = 0
    paused_ms: int | None = None
    judged_ms: int = 0
    ticking: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """``cards``: by device, in the order of their hardware ids. ``nonces``: of operators, by signer and subject.

    ``epoch``: the one that runs. ``now_ms``: the latest stamp or tick that was decided on.
    ``capacity`` is what the online GPUs come to, ``advertised`` what was last said of it.
    """

    terms: tuple[Published, ...] = ()
    epoch: int = 0
    contributors: Table[Contributor] = field(default_factory=Table)
    devices: Table[Device] = field(default_factory=Table)
    pulses: Table[Pulse] = field(default_factory=Table)
    cards: Table[tuple[Card, ...]] = field(default_factory=Table)
    gateways: Table[Gateway] = field(default_factory=Table)
    nonces: Table[int] = field(default_factory=Table)
    flow: Flow = Flow()
    capacity: Mapping[str, Capacity] = field(default_factory=dict)
    advertised: Mapping[str, Capacity] = field(default_factory=dict)
    now_ms: int = 0

    @property
    def terms_in_force(self) -> Terms | None:
        """The highest version whose epoch has begun."""
        begun = [each.terms for each in self.terms if each.terms.effective_from_epoch <= self.epoch]
        return begun[-1] if begun else None

    def contributor(self, address: str) -> Contributor:
        return self.contributors.get(address) or Contributor(address)


Ruled = Decision[State]


def also(decision: Ruled, rule: Callable[[State], Ruled]) -> Ruled:
    """What was decided, and what ``rule`` decides from there."""
    further = rule(decision.state)
    return Decision(further.state, decision.events + further.events, decision.timers + further.timers)


def in_turn(state: State, rules: Iterable[Callable[[State], Ruled]]) -> Ruled:
    """One rule after the other; lists, since thousands may have something to say at once."""
    events: list[Outgoing] = []
    timers: list[Timer] = []
    for rule in rules:
        decision = rule(state)
        state = decision.state
        events += decision.events
        timers += decision.timers
    return Decision(state, tuple(events), tuple(timers))


def time_of(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
