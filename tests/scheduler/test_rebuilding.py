"""What a rebuild makes of what was published, and of what was read and led to nothing."""

from __future__ import annotations

import pytest

from millpond.events.event import Event
from millpond.events.scheduler_assignments import AttemptClosed, JobAccepted, JobAssigned
from millpond.stream.decision import Received
from millpond_scheduler.rules import Board, deciding, recall
from scheduler.play import Play, restored
from scheduler.samples import (
    START_MS,
    device_removed,
    gateway,
    gone,
    joined,
    progress,
    requested,
    succeeded,
    terms,
)


def rebuilt(play: Play, read: list[Received]) -> Board:
    board = play.folded()
    for received in read:
        recall(board, received)
    return restored(board)


class Read:
    """Notes what a play is told, as a log would."""

    def __init__(self, play: Play) -> None:
        self.play, self.received = play, list[Received]()

    def __call__(self, *events: Event) -> None:
        inputs = [self.play._received(event, None) for event in events]
        self.received += inputs
        self.play._transaction(inputs)


@pytest.fixture
def read() -> Read:
    return Read(Play())


def test_members_offers_and_signs_of_life_are_recalled(read: Read) -> None:
    read(terms(), gateway(), *joined("g1", slots=2), *joined("g2"), gone("g2"), requested("j1"))
    read.play.after(4)
    read(progress(read.play.last(JobAssigned), "g1"))
    before, after = read.play.board, rebuilt(read.play, read.received)
    for name in ("jobs", "attempts", "gpus", "devices", "gateways", "offers", "asked"):
        assert getattr(after, name) == getattr(before, name), name
    assert list(after.ranking) == list(before.ranking)
    assert after.due.earliest_ms() == before.due.earliest_ms()


def test_a_request_that_waited_is_still_decided_and_no_other_again(read: Read) -> None:
    read(terms(), *joined("g1"), gateway(), requested("done"))
    read(succeeded(read.play.last(JobAssigned), "g1"))
    read(requested("waits", gateway="late"))
    read.play.board = rebuilt(read.play, read.received)
    assert list(read.play.board.asked) == [requested("waits", gateway="late").job]
    read(gateway("late"))
    read.play.wakes_at_ms = START_MS
    read.play.after(1)
    accepted = [event.job for event in read.play.all(JobAccepted)]
    assert accepted == [requested("done").job, requested("waits", gateway="late").job]


def test_what_a_rebuild_remembers_is_bounded_and_older_requests_count_as_decided(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "DECIDED_LATELY_MAX", 3)
    read(terms(), gateway(), *joined("g1", slots=9))
    for n in range(6):
        read(requested(f"j{n}"))
        read(succeeded(read.play.last(JobAssigned), "g1"))
        read.play.after(1)
    read(requested("waits", gateway="late"))
    after = rebuilt(read.play, read.received)
    assert list(after.asked) == [requested("waits", gateway="late").job]
    assert after.decided_lately == {}


@pytest.mark.parametrize("news", [gone("g1"), device_removed("g1")], ids=lambda event: type(event).__name__)
def test_old_news_of_a_gpu_ends_nothing_that_began_after_it(read: Read, news: Event) -> None:
    """After a rebuild what led to nothing is read anew: that it was gone once, before it came back and got this job."""
    read(terms(), gateway())
    read.play.after(10)
    read(*joined("g1"), requested("j1"))
    old = read.play._received(news, START_MS)
    read.play._transaction([old])
    read(*joined("g1"))
    read.play.after(1)
    assert read.play.all(AttemptClosed) == []
    read(gone("g1", as_of_ms=read.play.now_ms))
    read.play.after(1)
    assert read.play.last(AttemptClosed).reason == "gpu-gone"
