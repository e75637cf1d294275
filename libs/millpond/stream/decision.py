"""What rules take and what they give back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, NamedTuple, TypeVar

from millpond.events.event import Event
from millpond.events.topic import Topic
from millpond.stream.record import Place, Record

State = TypeVar("State")


# Tuples, where each record takes one: a frozen dataclass is made in five times the time.
class Received(NamedTuple):
    """One event read from a log: an input of the rules.

    ``place`` and ``offset`` say where it stands (for a readmitted record: its new place). ``stamp_ms`` is the writer's
    time in Unix milliseconds; for what edge carries, the time of arrival. ``value`` is the event's bytes, verbatim.
    ``finding`` is what ``observe`` found out about it before the transaction, or None. ``record``: as it stood on the log.
    """

    topic: str
    place: Place
    offset: int
    key: str
    event: Event
    stamp_ms: int
    value: bytes
    finding: object = None
    record: Record | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer going off: a recorded input. ``as_of_ms`` never goes back; every event it causes says so (``as_of``).

    A single-active service has then decided all that stood on its inputs at that time: who is silent, is silent on the
    log. ``unread`` names the places of which that isn't true, since they are stopped or wait to be tried again.
    """

    timer: str
    as_of_ms: int
    unread: frozenset[Place] = frozenset()

    @property
    def as_of(self) -> datetime:
        return datetime.fromtimestamp(self.as_of_ms / 1000, tz=UTC)


Input = Received | Tick


class Outgoing(NamedTuple):
    """An event to be published. ``time_ms`` (Unix milliseconds) is its cause's stamp or tick, never the writer's clock.

    ``partition`` is for what must reach a certain one (a watermark to every partition); otherwise the key decides.
    ``item`` is the event's identity on a topic that is written by sources, too: there a repeat is known by it alone.
    """

    topic: Topic
    key: str
    event: Event
    time_ms: int
    partition: int | None = None
    item: str | None = None


@dataclass(frozen=True, slots=True)
class Timer:
    """Wakes the rules with a ``Tick`` at ``at_ms`` (Unix milliseconds); None takes the timer of that name back."""

    name: str
    at_ms: int | None


class Decision(NamedTuple, Generic[State]):
    """What rules say to one input: the state from now on, what is published, when to wake.

    ``refusal``: why what somebody signed is not carried out, for a person. It is set aside as a dead letter, as the
    library's own commands are; for refusals that readers must act on, publish an event instead.
    """

    state: State
    events: tuple[Outgoing, ...] = ()
    timers: tuple[Timer, ...] = ()
    refusal: str | None = None


Decide = Callable[[State, Input], Decision[State]]
Fold = Callable[[State, Received], Decision[State]]
Conclude = Callable[[State], Decision[State]]
