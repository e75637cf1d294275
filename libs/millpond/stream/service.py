"""What a service's author writes: a name, what is read and written, the rules, and where their state is kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

from millpond.events.topic import Topic
from millpond.stream.database import WHOLE_SERVICE
from millpond.stream.decision import Conclude, Decide, Fold, Input, Received, State
from millpond.stream.record import Place

Shape = Literal["grouped", "single_active"]
# What a rule needs to know from outside (a decoded output, the chain's answer) is found out before the transaction; the
# finding is an input like any other. On one's own published event this is how an effect is done: once it is on the log.
Observe = Callable[[Received], Awaitable[object]]

Contravariant = TypeVar("Contravariant", contravariant=True)


class StateStore(Protocol[State]):
    """Where a service's state lives. ``connection`` is the transaction's: ``asyncpg.Connection``, or a test's memory."""

    @property
    def schema(self) -> str:
        """The service's own tables as idempotent SQL."""
        ...

    async def load(self, connection: Any, keys: Sequence[str] | None) -> State:
        """The state under these keys (grouped); with None all of it (single-active, on taking over)."""
        ...

    async def save(self, connection: Any, before: State, after: State) -> None:
        """Writes what has changed: perhaps nothing."""
        ...


def by_record_key(received: Input) -> Iterable[str]:
    """State is kept under the record's key; a tick is kept under its timer's name."""
    return (received.key if isinstance(received, Received) else received.timer,)


@dataclass(frozen=True)
class Service(Generic[State]):
    """A program that reads topics, decides, and publishes what it decided.

    ``grouped``: many processes share the partitions, state is loaded per batch under ``keys``, which are locked.
    ``single_active``: one process reads everything and keeps the state in memory; standbys wait.

    ``decide`` is pure. ``fold`` says what one of the service's *own* published events means for the state: rebuilding a
    lost database folds them all, then reads the inputs anew from where ``rebuild_reads_from`` says: ``covered`` by what
    was published (everything that matters is in the outputs) or the ``beginning`` (inputs that wait for each other
    have left no output yet; ``decide`` must not decide again what ``fold`` has shown it). With ``covered``, ``recall``
    says what such an input has left in the state that no output tells (who is in, what is offered); it decides nothing.

    ``conclude`` speaks once more when all inputs of a transaction have been decided: what is best decided from all of
    them together (handing out jobs), and what is said once per transaction (how far it had read).
    """

    name: str
    shape: Shape
    reads: tuple[Topic, ...]
    writes: tuple[Topic, ...]
    dead_letters: Topic
    decide: Decide[State]
    store: StateStore[State]
    keys: Callable[[Input], Iterable[str]] = by_record_key
    observe: Observe | None = None
    fold: Fold[State] | None = None
    rebuild_reads_from: Literal["covered", "beginning"] = "covered"
    recall: Fold[State] | None = None
    conclude: Conclude[State] | None = None

    def timer_scope(self, place: Place) -> Place:
        """Whose timers an input from ``place`` sets: its partition's, or the one active process's."""
        return place if self.shape == "grouped" else WHOLE_SERVICE
