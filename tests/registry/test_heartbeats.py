"""Signs of life: who counts as alive, by what, and which GPUs are announced."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from millpond.events.agent_claims import Heartbeat
from millpond.events.device_claims import Gpu
from millpond.events.ids import gpu_id
from millpond.events.registry_capacity import CapacityChanged
from millpond.events.registry_gpus import GpuDraining, GpuGone, GpuOnline, GpuRefused
from millpond.events.topics import AGENT_HEARTBEATS
from registry.pond import SOFTWARE, START_MS, Machine, Pond, Wallet, card, kinds, open_pond, terms


@pytest.fixture
def machine() -> Machine:
    return Machine("ada-1")


@pytest.fixture
def pond(machine: Machine) -> Pond:
    """Ada's machine is registered; it has not beaten yet."""
    pond = open_pond()
    pond.enrols(Wallet("ada").delegates(machine))
    return pond


def test_the_first_beat_announces_each_gpu_and_what_they_can_do_together(pond: Pond) -> None:
    machine = Machine("ada-2", gpus=(card(2), card(1)))
    pond.enrols(Wallet("ada", nonce=5).delegates(machine))
    first, second, capacity = pond.beat(machine.beats())
    assert isinstance(first, GpuOnline)
    assert isinstance(second, GpuOnline)
    assert [first.hardware, second.hardware] == [card(1), card(2)]
    assert (first.gpu, first.contributor) == (gpu_id(machine.device, "GPU-1"), Wallet("ada").address)
    assert first.as_of.timestamp() == START_MS / 1000
    assert capacity == CapacityChanged(capability="transcode", gpus=2, slots=8, as_of=first.as_of)
    # Known: the next beats, with or without the inventory, say nothing new.
    assert pond.beat(machine.beats(inventory=True)) == []
    assert pond.lives(30, [machine]) == []


def test_a_beat_without_an_inventory_is_life_without_gpus(pond: Pond, machine: Machine) -> None:
    assert pond.beat(machine.beats(inventory=False)) == []
    assert kinds(pond.beat(machine.beats(inventory=True))) == ["GpuOnline", "CapacityChanged"]


def unregistered(machine: Machine) -> Heartbeat:
    return Machine("stranger").beats()


def in_anothers_name(machine: Machine) -> Heartbeat:
    return Machine("stranger").beats().model_copy(update={"device": machine.device})


def signed_as_something_else(machine: Machine) -> Heartbeat:
    beat = machine.beats()
    return beat.model_copy(update={"signature": machine.key.sign(pool="pond", kind="JobProgress", text=beat.payload)})


def for_another_pool(machine: Machine) -> Heartbeat:
    beat = machine.beats()
    return beat.model_copy(update={"signature": machine.key.sign(pool="lake", kind="Heartbeat", text=beat.payload)})


def with_more_slots(machine: Machine) -> Heartbeat:
    beat = machine.beats()
    return beat.model_copy(update={"payload": beat.payload.replace('"slots":2', '"slots":200')})


def no_claim(machine: Machine) -> Heartbeat:
    return machine.claims(json.dumps({"session": "mine", "sequence": 1}))


@pytest.mark.parametrize(
    "make", [unregistered, in_anothers_name, signed_as_something_else, for_another_pool, with_more_slots, no_claim]
)
def test_a_beat_that_its_device_has_not_signed_changes_nothing(make: Any, pond: Pond, machine: Machine) -> None:
    before = pond.state
    assert pond.beat(make(machine)) == []
    assert (pond.state.pulses, pond.state.cards) == (before.pulses, before.cards)


def test_a_beat_under_another_record_key_changes_nothing(pond: Pond, machine: Machine) -> None:
    # Its partition would be another one, and with it the order of its beats.
    assert pond.take(pond.received(AGENT_HEARTBEATS, Machine("stranger").device, machine.beats())) == []


def test_an_old_beat_sent_again_revives_nobody(pond: Pond, machine: Machine) -> None:
    beats = [machine.beats() for _ in range(3)]
    for beat in beats:
        pond.beat(beat)
    machine.session, machine.sequence = "aaaaaaaa-0000-4000-8000-000000000000", 0
    second = machine.beats()
    pond.beat(second)
    pond.passes(60)
    assert pond.standing(machine) == ["gone"]
    # Of this session, and of one that is over.
    for old in (*beats, second):
        assert pond.beat(old) == []
    assert pond.standing(machine) == ["gone"]
    assert kinds(pond.beat(machine.beats())) == ["GpuOnline", "CapacityChanged"]


def test_a_beat_that_comes_so_late_that_it_was_silence_already_is_no_sign_of_life(pond: Pond, machine: Machine) -> None:
    steady = Machine("ada-2")
    pond.member(Wallet("ada", nonce=5), steady)
    pond.beat(machine.beats())
    pond.lives(40, [steady])
    assert pond.standing(machine) == ["gone"]
    assert pond.beat(machine.beats(), at_ms=pond.now_ms - 15_000) == []
    assert kinds(pond.beat(machine.beats(), at_ms=pond.now_ms - 14_000)) == ["GpuOnline", "CapacityChanged"]
    late = Machine("ada-3")
    pond.enrols(Wallet("ada", nonce=9).delegates(late))
    assert pond.beat(late.beats(), at_ms=pond.now_ms - 20_000) == []
    # What it showed is known.
    assert kinds(pond.beat(late.beats())) == ["GpuOnline", "CapacityChanged"]


def test_a_goodbye_counts_at_once_and_a_return_too(pond: Pond, machine: Machine) -> None:
    pond.beat(machine.beats())
    gone, _ = pond.beat(machine.beats(leaving=True))
    assert isinstance(gone, GpuGone)
    assert gone.reason == "said-goodbye"
    assert kinds(pond.beat(machine.beats())) == ["GpuOnline", "CapacityChanged"]


def test_a_card_that_is_taken_out_is_gone_and_the_others_stay(pond: Pond) -> None:
    machine = Machine("ada-2", gpus=(card(1), card(2)))
    pond.enrols(Wallet("ada", nonce=5).delegates(machine))
    pond.beat(machine.beats())
    machine.gpus = (card(2),)
    gone, capacity = pond.beat(machine.beats(inventory=True))
    assert isinstance(gone, GpuGone)
    assert (gone.gpu, gone.reason) == (gpu_id(machine.device, "GPU-1"), "not-there")
    assert isinstance(capacity, CapacityChanged)
    assert (capacity.gpus, capacity.slots) == (1, 4)


def test_other_hardware_under_the_same_id_is_announced_anew(pond: Pond, machine: Machine) -> None:
    pond.beat(machine.beats())
    machine.gpus = (SOFTWARE.model_copy(update={"slots": 5}),)
    online, capacity = pond.beat(machine.beats(inventory=True))
    assert isinstance(online, GpuOnline)
    assert online.hardware.slots == 5
    assert isinstance(capacity, CapacityChanged)
    assert (capacity.gpus, capacity.slots) == (1, 5)


@pytest.mark.parametrize(
    ("hardware", "gpu", "missing"),
    [
        ({"software_devices": False}, SOFTWARE, ("software_devices",)),
        ({"gpu_models": ["A100", "RTX 3090"]}, card(), ()),
        ({"gpu_models": ["A100"]}, card(model="NVIDIA A100-SXM4-80GB"), ()),
        ({"gpu_models": ["L40"]}, card(model="NVIDIA L40S"), ("gpu_models",)),
        ({"gpu_models": []}, card(model="anything"), ()),
        ({"memory_bytes_min": 24 * 2**30}, card(), ()),
        ({"memory_bytes_min": 24 * 2**30 + 1}, card(), ("memory_bytes_min",)),
        # Unknown is not zero, and not enough either.
        ({"memory_bytes_min": 1}, card(memory_bytes=None), ("memory_bytes_min",)),
        ({"memory_bytes_min": 0}, card(memory_bytes=None), ()),
        ({"gpu_models": ["A100"], "memory_bytes_min": 2**40}, card(), ("gpu_models", "memory_bytes_min")),
    ],
)
def test_what_the_terms_don_t_take_is_refused_with_everything_that_is_missing(
    hardware: dict[str, Any], gpu: Gpu, missing: tuple[str, ...]
) -> None:
    pond, machine = open_pond(hardware=hardware), Machine("ada-1", gpus=(gpu,))
    pond.enrols(Wallet("ada").delegates(machine))
    said = pond.beat(machine.beats())
    if not missing:
        assert kinds(said) == ["GpuOnline", "CapacityChanged"]
        return
    (refused,) = said
    assert isinstance(refused, GpuRefused)
    assert (refused.missing, refused.hardware) == (missing, gpu)
    assert len(refused.sentence.split("The pool ")) == len(missing) + 1
    assert pond.passes(60) == []


def test_where_one_gpu_of_a_machine_is_taken_the_first_that_would_do_is_the_one() -> None:
    pond = open_pond(hardware={"multiple_gpus_per_node": False, "gpu_models": ["RTX 3090"]})
    machine = Machine("ada-1", gpus=(card(3), card(1, model="NVIDIA T4"), card(2)))
    pond.enrols(Wallet("ada").delegates(machine))
    pond.beat(machine.beats())
    assert pond.standing(machine) == ["refused", "online", "refused"]
    assert {event.missing for event in pond.words(GpuRefused)} == {("gpu_models",), ("multiple_gpus_per_node",)}


def test_new_terms_measure_everybody_again(pond: Pond, machine: Machine) -> None:
    pond.beat(machine.beats())
    said = pond.publishes(terms(2, hardware={"software_devices": False}))
    assert kinds(said) == ["TermsPublished", "GpuRefused", "CapacityChanged"]
    assert kinds(pond.publishes(terms(3))) == ["TermsPublished", "GpuOnline", "CapacityChanged"]
    assert pond.words(CapacityChanged)[-1].slots == 2


def test_capacity_counts_who_answers_and_may_work(pond: Pond, machine: Machine) -> None:
    ada, other = Wallet("ada", nonce=5), Machine("ada-2", gpus=(card(),))
    pond.beat(machine.beats())
    pond.enrols(ada.delegates(other))
    pond.beat(other.beats())
    pond.lives(15, [other])
    pond.enrols(ada.leaves())
    assert [(event.gpus, event.slots) for event in pond.words(CapacityChanged)] == [(1, 2), (2, 6), (1, 4), (0, 0)]
    assert {event.device for event in pond.words(GpuDraining)} == {machine.device, other.device}


def test_what_changes_and_changes_back_at_once_is_not_said_twice(pond: Pond, machine: Machine) -> None:
    pond.beat(machine.beats())
    beats = [machine.beats(leaving=True), machine.beats()]
    said = pond.take(*(pond.received(AGENT_HEARTBEATS, machine.device, beat) for beat in beats))
    assert kinds(said) == ["GpuGone", "GpuOnline"]


def test_the_state_before_is_never_touched(pond: Pond, machine: Machine) -> None:
    before = replace(pond.state)
    copies = {name: list(getattr(before, name).items()) for name in ("devices", "pulses", "cards")}
    pond.beat(machine.beats())
    assert {name: list(getattr(before, name).items()) for name in copies} == copies
