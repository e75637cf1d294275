"""Silence: suspect, gone, and never more than half of the pool at once (incident 37, nomad3840-own-outage-all-dead)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.events.event import Event
from millpond.events.registry_gpus import GpuGone, GpuOnline, GpuSuspect, LivenessPaused, LivenessResumed
from millpond.events.topics import AGENT_HEARTBEATS
from millpond.stream.record import Place
from millpond_registry.rules.liveness import PAUSE_MS_MAX, STORM_DEVICES_MIN
from registry.pond import START_MS, Machine, Pond, Wallet, kinds, open_pond

EVICTIONS = (GpuSuspect, GpuGone)


def pond_of(count: int) -> tuple[Pond, list[Machine]]:
    """A pond with so many machines, each in and alive."""
    made = made_once(count)
    machines = [Machine(f"ada-{number}", sequence=1) for number in range(count)]
    return Pond(state=made.state, timers=dict(made.timers)), machines


@cache
def made_once(count: int) -> Pond:
    # A wallet's signature takes a while; a state is never touched again.
    pond = open_pond()
    pond.member(Wallet("ada"), *(Machine(f"ada-{number}") for number in range(count)))
    return pond


def evicted(said: Iterable[Event]) -> set[str]:
    return {event.device for event in said if isinstance(event, EVICTIONS)}


def test_suspect_after_15_s_gone_after_30_and_back_with_the_next_beat() -> None:
    pond, (silent, *others) = pond_of(4)
    said = pond.lives(10, others)
    assert kinds(said) == []
    said = pond.lives(5, others)
    assert kinds(said) == ["GpuSuspect", "CapacityChanged"]
    (suspect,) = pond.words(GpuSuspect)
    assert (suspect.device, suspect.reason, suspect.sentence) == (silent.device, "silent", "No heartbeat for 15 s.")
    assert suspect.as_of.timestamp() == START_MS / 1000 + 15
    assert kinds(pond.lives(15, others)) == ["GpuGone"]
    assert pond.words(GpuGone)[0].sentence == "No heartbeat for 30 s."
    assert kinds(pond.beat(silent.beats())) == ["GpuOnline", "CapacityChanged"]


@pytest.mark.parametrize("count", [1, 2])
def test_of_very_few_each_is_judged_by_itself(count: int) -> None:
    pond, machines = pond_of(count)
    assert evicted(pond.passes(31)) == {machine.device for machine in machines}
    assert count < STORM_DEVICES_MIN


def test_nobody_is_looked_for_when_nobody_is_there() -> None:
    pond, _ = pond_of(1)
    pond.passes(40)
    assert "pulse" not in pond.timers


def test_half_the_pool_vanishing_at_once_evicts_that_half_and_more_than_half_nobody() -> None:
    pond, machines = pond_of(10)
    assert evicted(pond.lives(60, machines[5:])) == {machine.device for machine in machines[:5]}
    pond, machines = pond_of(10)
    said = pond.lives(60, machines[6:])
    assert kinds(said) == ["LivenessPaused"]
    (paused,) = pond.words(LivenessPaused)
    assert (paused.silent, paused.devices) == (6, 10)
    assert "6 of 10 devices fell silent at once" in paused.sentence


def test_an_outage_of_a_minute_costs_nobody_anything_and_who_died_in_it_goes_afterwards() -> None:
    """Edge is down for a minute; the agents come back within ten seconds of each other, and one never does."""
    pond, machines = pond_of(12)
    # Their beats are spread over five seconds, so they don't fall silent in the same instant.
    for machine in machines:
        pond.passes(0.25)
        pond.beat(machine.beats())
    dead, alive = machines[0], machines[1:]
    assert kinds(pond.passes(60)) == ["LivenessPaused"]
    for machine in alive:
        pond.passes(0.5)
        assert evicted(pond.beat(machine.beats())) == set()
    assert len(pond.words(LivenessResumed)) == 1
    said = pond.lives(60, alive)
    assert evicted(said) == {dead.device}
    assert pond.words(GpuOnline) == []


def test_a_pause_ends_after_five_minutes_and_then_the_silent_are_gone() -> None:
    pond, machines = pond_of(5)
    said = pond.passes(PAUSE_MS_MAX / 1000 + 5)
    assert evicted(said) == set()
    said = pond.passes(10)
    assert evicted(said) == {machine.device for machine in machines}
    assert kinds(said)[:5] == ["GpuGone"] * 5
    # And it begins anew with whoever comes back.
    for machine in machines:
        pond.beat(machine.beats())
    assert pond.lives(60, machines) == []


def test_devices_whose_partition_cannot_be_read_are_not_judged() -> None:
    pond, machines = pond_of(12)
    unread = frozenset({Place(AGENT_HEARTBEATS.name, 1)})
    behind = {m.device for m in machines if pond.state.pulses.get(m.device).partition == 1}  # type: ignore[union-attr]
    assert 0 < len(behind) < 6
    dead = next(machine for machine in machines if machine.device not in behind)
    alive = [machine for machine in machines if machine is not dead]
    for _ in range(12):
        assert evicted(pond.passes(5, unread=unread)) <= {dead.device}
        for machine in alive:
            if machine.device not in behind:
                pond.beat(machine.beats())
    assert pond.standing(dead) == ["gone"]
    # Read at last, by the stamps that they had.
    for machine in alive:
        pond.beat(machine.beats(), at_ms=pond.now_ms - 1_000)
    assert evicted(pond.passes(5)) == set()


def naive(silence_s: dict[str, float]) -> set[str]:
    """What the incident did: each by its own clock."""
    return {device for device, silent_s in silence_s.items() if silent_s >= 15}


def test_the_naive_rule_evicts_the_whole_pool() -> None:
    assert len(naive(dict.fromkeys(map(str, range(1_000)), 60.0))) == 1_000


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from((4, 9)), outage_s=st.integers(10, 90))
def test_whatever_outage_of_ours_comes_only_the_dead_are_evicted(seed: int, count: int, outage_s: int) -> None:
    """Beats at any phase, an outage that swallows all of them, returns spread over 14 s; less than half are really dead.

    At least three must be left: of fewer each is judged by itself.
    """
    chance = random.Random(seed)
    pond, machines = pond_of(count)
    dead = chance.sample(machines, chance.randrange((count + 1) // 2))
    begins_s, ends_s = 40, 40 + outage_s
    beats = sorted(
        (at_s, number)
        for number, machine in enumerate(machines)
        if machine not in dead
        for phase_s, back_s in [(chance.uniform(0, 5), ends_s + chance.uniform(0, 9))]
        for at_s in (phase_s + 5 * n for n in range(30 + outage_s // 5))
        if not begins_s <= at_s < back_s
    )
    said: list[Event] = []
    for at_s, number in beats:
        said += pond.passes(at_s - (pond.now_ms - START_MS) / 1000)
        said += pond.beat(machines[number].beats())
    assert evicted(said) <= {machine.device for machine in dead}
    for machine in machines:
        assert pond.standing(machine) == (["gone"] if machine in dead else ["online"])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((1, 5, 10)), st.sets(st.integers(0, 8))), min_size=5, max_size=20))
def test_however_they_fall_silent_no_tick_takes_more_than_half(steps: list[tuple[int, set[int]]]) -> None:
    pond, machines = pond_of(9)
    for seconds, beating in steps:
        for _ in range(seconds):
            before = sum(pond.standing(machine) != ["gone"] for machine in machines)
            gone = {event.device for event in pond.passes(1) if isinstance(event, GpuGone)}
            assert before < STORM_DEVICES_MIN or 2 * len(gone) <= before
        for number in beating:
            pond.beat(machines[number].beats())
