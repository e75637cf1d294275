"""An epoch that closes gets its watermarks: once each, and not before everything below its ends is decided."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from metering.samples import NOW, NOW_MS, SIGNATURES, told
from millpond.events.metering_usage import Watermark
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import (
    AGENT_RESULTS,
    INSPECTOR_OBSERVATIONS,
    JOB_PARTITIONS,
    METERING_USAGE,
    REWARDS_EPOCHS,
    SCHEDULER_ASSIGNMENTS,
)
from millpond.stream.decision import Decision, Outgoing, Received, Tick
from millpond.stream.record import Place
from millpond_metering.rules import NOTHING, Epoch, Progress, State, decide, fold
from millpond_metering.rules.watermarks import JOINED

ENDS = 10
READ = dict.fromkeys(JOINED, ENDS)


def closing(epoch: int = 3, **ends: Any) -> Received:
    everywhere = dict.fromkeys(JOINED, (ENDS,) * JOB_PARTITIONS)
    event = EpochClosing(epoch=epoch, ends={**everywhere, "chain.revenue.v1": (4,), **ends}, as_of=NOW)
    place = Place(REWARDS_EPOCHS.name, 0)
    return Received(REWARDS_EPOCHS.name, place, 0, "pond", event, NOW_MS, event.to_bytes())


def at(progress: Progress, *, but: dict[int, Progress] | None = None, epoch: int = 3) -> State:
    """What the database says before the closing is read."""
    everywhere = dict.fromkeys(range(JOB_PARTITIONS), progress) | (but or {})
    return State(epochs={epoch: Epoch(progress=everywhere)})


def look_again(state: State, progress: Progress, epoch: int = 3) -> Decision[State]:
    known = replace(state.epochs[epoch], progress=dict.fromkeys(range(JOB_PARTITIONS), progress))
    return decide(State(epochs={epoch: known}), Tick(f"epoch/{epoch}", NOW_MS + 500), signatures=SIGNATURES)


def said(events: tuple[Outgoing, ...]) -> set[tuple[int, int]]:
    found = [(out.event.partition, out.partition) for out in events if isinstance(out.event, Watermark)]
    assert len(found) == len(set(found)) == len(events)
    return set(found)  # type: ignore[arg-type]


ALL = {(partition, copy) for partition in range(JOB_PARTITIONS) for copy in range(METERING_USAGE.partitions)}


def test_each_input_partition_is_said_to_every_partition_of_the_lines() -> None:
    decision = told([closing()], at(Progress(READ)))
    assert said(decision.events) == ALL
    first = decision.events[0]
    assert first.event == Watermark(epoch=3, partition=0, ends=dict.fromkeys(JOINED, ENDS))
    assert first.time_ms == NOW_MS


@pytest.mark.parametrize("topic", [AGENT_RESULTS, SCHEDULER_ASSIGNMENTS, INSPECTOR_OBSERVATIONS])
def test_a_partition_that_is_not_read_up_to_the_end_waits(topic: Any) -> None:
    behind = Progress({**READ, topic.name: ENDS - 1})
    decision = told([closing()], at(Progress(READ), but={5: behind}))
    assert said(decision.events) == {each for each in ALL if each[0] != 5}


def test_a_kept_attempt_without_its_line_holds_its_partition_back() -> None:
    waits = Progress(READ, undecided_from=ENDS - 1)
    decision = told([closing()], at(Progress(READ), but={5: waits}))
    assert said(decision.events) == {each for each in ALL if each[0] != 5}


def test_what_was_kept_after_the_end_holds_nothing_back() -> None:
    decision = told([closing()], at(Progress(READ, undecided_from=ENDS)))
    assert said(decision.events) == ALL


def test_it_is_looked_at_again_until_all_is_said() -> None:
    first = decide(at(Progress({})), closing(), signatures=SIGNATURES)
    assert first.events == ()
    assert [timer.name for timer in first.timers] == ["epoch/3"]
    second = look_again(first.state, Progress({}))
    assert (second.events, [timer.at_ms for timer in second.timers]) == ((), [NOW_MS + 750])
    third = look_again(second.state, Progress(READ))
    assert (said(third.events), third.timers) == (ALL, ())
    assert look_again(third.state, Progress(READ)).events == ()


def test_the_watermarks_of_an_epoch_are_the_same_whenever_they_are_said() -> None:
    at_once = told([closing()], at(Progress(READ))).events
    waited = decide(at(Progress({})), closing(), signatures=SIGNATURES)
    assert look_again(waited.state, Progress(READ)).events == at_once


def test_an_epoch_has_one_end() -> None:
    other = dict.fromkeys(JOINED, (ENDS + 1,) * JOB_PARTITIONS)
    state = told([closing()], at(Progress({}))).state
    state = decide(state, closing(**other), signatures=SIGNATURES).state
    assert said(look_again(state, Progress(READ)).events) == ALL


def test_after_a_rebuild_only_what_is_missing_is_said() -> None:
    state = NOTHING
    published = told([closing()], at(Progress(READ))).events
    for out in published[:-2]:
        place = Place(METERING_USAGE.name, out.partition or 0)
        own = Received(METERING_USAGE.name, place, 0, out.key, out.event, out.time_ms, out.event.to_bytes())
        state = fold(state, own).state
    known = replace(state.epochs[3], progress=dict.fromkeys(range(JOB_PARTITIONS), Progress(READ)))
    again = decide(State(epochs={3: known}), closing(), signatures=SIGNATURES)
    assert again.events == published[-2:]


def test_an_epoch_that_names_no_end_of_a_topic_does_not_wait_for_it() -> None:
    decision = told([closing(**{AGENT_RESULTS.name: ()})], at(Progress({**READ, AGENT_RESULTS.name: 0})))
    assert said(decision.events) == ALL
