"""Stories for the scheduler: who says what, when. Time is an argument, and every step is checked against the invariants."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from millpond.events.agent_claims import DeviceClaim
from millpond.events.event import Event
from millpond.events.scheduler_assignments import (
    AttemptClosed,
    JobAccepted,
    JobAssigned,
    JobFinished,
    JobGivenUp,
    JobRefused,
)
from millpond.events.scheduler_reads import ReadUpTo
from millpond.events.topic import Topic
from millpond.events.topics import AGENT_PROGRESS, AGENT_RESULTS, SCHEDULER_ASSIGNMENTS, TOPICS
from millpond.stream.decision import Outgoing, Received, Tick
from millpond.stream.outlet import partition_of
from millpond.stream.record import Place
from millpond_scheduler.rules import READS, Board, conclude, decide, fold
from millpond_scheduler.rules.board import Changes
from scheduler.samples import POOL, START_MS

AnEvent = TypeVar("AnEvent", bound=Event)
TOPIC_OF = {event: topic for topic in TOPICS.values() if topic in READS for event in topic.events}
ENDS = (JobFinished, JobGivenUp, JobRefused)


def topic_of(event: Event) -> Topic:
    return TOPIC_OF[type(event)]


def key_of(event: Event) -> str:
    """What the event's writer takes for a key."""
    if isinstance(event, DeviceClaim):
        return str(event.claim.job)
    names = ("job", "gpu", "gateway", "contributor")
    return next((str(getattr(event, name)) for name in names if hasattr(event, name)), "pool")


class History:
    """What was published, held against what the scheduler promises. It knows nothing of the scheduler's state."""

    def __init__(self) -> None:
        self.slots: dict[str, int] = {}
        self.open: dict[str, JobAssigned] = {}
        self.accepted: set[str] = set()
        self.ended: set[str] = set()
        self.kept: set[str] = set()
        self.attempts: dict[str, int] = {}

    def check(self, event: Event) -> None:
        match event:
            case JobAccepted(job=job):
                assert job not in self.accepted | self.ended, "accepted twice"
                self.accepted.add(job)
            case JobAssigned(job=job, gpu=gpu):
                assert job in self.accepted - self.ended, "assigned without being accepted, or after its end"
                assert job not in self.open, "two open attempts"
                assert event.attempt == self.attempts.get(job, 0) + 1
                assert event.candidates[0].gpu == gpu
                assert [each.score for each in event.candidates] == sorted(each.score for each in event.candidates)
                used = sum(each.gpu == gpu for each in self.open.values())
                assert used < self.slots[gpu], "more attempts than slots"
                assert event.candidates[0].slots_free == self.slots[gpu] - used
                self.open[job], self.attempts[job] = event, event.attempt
            case AttemptClosed(job=job):
                assigned = self.open.pop(job)
                assert (event.attempt, event.lease, event.gpu) == (assigned.attempt, assigned.lease, assigned.gpu)
                assert (event.outcome == "kept") == (event.result is not None)
                if event.outcome == "kept":
                    assert job not in self.kept, "kept twice"
                    self.kept.add(job)
            case JobFinished() | JobGivenUp() | JobRefused():
                assert event.job not in self.ended, "ended twice"
                assert event.job not in self.open, "ended with an open attempt"
                assert isinstance(event, JobFinished) == (event.job in self.kept)
                self.ended.add(event.job)


class Play:
    """``play(a, b)``: both in one transaction. ``play.until(seconds=31)``: that long after the start, with all ticks."""

    def __init__(self) -> None:
        self.board = restored(Board())
        self.history = History()
        self.published: list[Event] = []
        self.out: list[Outgoing] = []
        self.now_ms = START_MS
        self.wakes_at_ms: int | None = None
        # Places that are stopped: no tick knows what lies there.
        self.unread: frozenset[Place] = frozenset()
        self.offsets: dict[Place, int] = {}

    def __call__(self, *events: Event, stamp_ms: int | None = None) -> list[Event]:
        """What comes of the transaction."""
        return self._transaction([self._received(event, stamp_ms) for event in events])

    def after(self, seconds: float) -> list[Event]:
        return self.until((self.now_ms - START_MS) / 1000 + seconds)

    def until(self, seconds: float) -> list[Event]:
        """Lets time pass. A tick comes a little late, as in life, and so never exactly on time."""
        end_ms, said = START_MS + int(seconds * 1000), list[Event]()
        while self.wakes_at_ms is not None and self.wakes_at_ms <= end_ms:
            self.now_ms = max(self.now_ms + 1, self.wakes_at_ms)
            self.wakes_at_ms = None
            said += self._transaction([Tick("agenda", self.now_ms, self.unread)])
        self.now_ms = max(self.now_ms, end_ms)
        return said

    def take_over(self) -> None:
        """Another process is active now: it knows what was stored, and what follows from it."""
        self.board = restored(self.board)

    def all(self, kind: type[AnEvent]) -> list[AnEvent]:
        return [event for event in self.published if isinstance(event, kind)]

    def last(self, kind: type[AnEvent]) -> AnEvent:
        return next(event for event in reversed(self.published) if isinstance(event, kind))

    def folded(self) -> Board:
        """What a rebuild makes of everything published."""
        board = Board()
        for n, out in enumerate(each for each in self.out if each.topic is SCHEDULER_ASSIGNMENTS):
            place = Place(out.topic.name, partition_of(out.key.encode(), out.topic.partitions))
            fold(board, Received(out.topic.name, place, n, out.key, out.event, out.time_ms, b""))
        return board

    def _received(self, event: Event, stamp_ms: int | None) -> Received:
        topic, key = topic_of(event), key_of(event)
        place = Place(topic.name, partition_of(key.encode(), topic.partitions))
        offset = self.offsets[place] = self.offsets.get(place, -1) + 1
        stamp_ms = self.now_ms if stamp_ms is None else stamp_ms
        return Received(topic.name, place, offset, key, event, stamp_ms, event.to_bytes())

    def _transaction(self, inputs: Iterable[Received | Tick]) -> list[Event]:
        decisions = [decide(self.board, each, pool=POOL) for each in inputs]
        decisions.append(conclude(self.board))
        out = [each for decision in decisions for each in decision.events]
        for timer in (timer for decision in decisions for timer in decision.timers):
            assert timer.name == "agenda"
            self.wakes_at_ms = timer.at_ms
        self.history.slots |= {gpu.id: gpu.slots for gpu in self.board.gpus.values()}
        events = [each.event for each in out]
        for event in events:
            self.history.check(event)
        assert [isinstance(event, ReadUpTo) for event in events] == [False] * (len(events) - 1) + [True] * bool(events)
        self.published += events
        self.out += out
        return events


def restored(board: Board) -> Board:
    """The board as a store gives it back: only what is stored, and what follows from it."""
    fresh = Board()
    for name in ("jobs", "attempts", "asked", "gpus", "standings", "devices", "gateways", "barred", "offers"):
        setattr(fresh, name, copy.copy(getattr(board, name)))
    fresh.counts = replace(board.counts)
    fresh.read = copy.deepcopy(board.read) or {topic.name: [0] * topic.partitions for topic in READS}
    fresh.changes = Changes()
    fresh.index()
    return fresh


def unread(job: str) -> frozenset[Place]:
    """The places at which something about a job could lie unread."""
    return frozenset(
        Place(topic.name, partition_of(job.encode(), topic.partitions)) for topic in (AGENT_RESULTS, AGENT_PROGRESS)
    )
