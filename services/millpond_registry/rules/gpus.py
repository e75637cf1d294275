"""How each GPU stands: one function of the terms, its contributor, its device and its signs of life."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from millpond.events.device_claims import Gpu
from millpond.events.event import Event
from millpond.events.ids import gpu_id
from millpond.events.registry_gpus import GpuDraining, GpuGone, GpuOnline, GpuRefused, GpuSuspect
from millpond.events.topics import REGISTRY_GPUS
from millpond.stream.decision import Decision, Outgoing
from millpond.terms.terms import Terms
from millpond_registry.rules import hardware
from millpond_registry.rules.reasons import REMOVALS, STANDINGS
from millpond_registry.rules.state import (
    Capacity,
    Card,
    Contributor,
    Device,
    Pulse,
    Ruled,
    Standing,
    State,
    in_turn,
    time_of,
)


def show(state: State, device_id: str, inventory: Sequence[Gpu], at_ms: int) -> Ruled:
    """The device's GPUs are these; the same state if they were before."""
    before = {card.hardware.hardware_id: card for card in state.cards.get(device_id) or ()}
    # Of two with one id the first counts.
    shown = {gpu.hardware_id: gpu for gpu in reversed(inventory)}
    if {number: card.hardware for number, card in before.items()} == shown:
        return Decision(state)
    device = state.devices.get(device_id)
    assert device is not None
    gone = [card for number, card in before.items() if number not in shown]
    changes = [
        (card, Standing("gone", "not-there")) for card in gone if card.standing and card.standing.state != "gone"
    ]
    events = tuple(_out(device_id, device, card.hardware, standing, state, at_ms) for card, standing in changes)
    capacity = state.capacity
    for card in gone:
        capacity = moved(capacity, state.terms_in_force, card, None)
    cards = []
    for number, gpu in sorted(shown.items()):
        known = before.get(number)
        # Other hardware under the same id is announced again, as if it were new.
        cards.append(known if known is not None and known.hardware == gpu else Card(gpu))
        if known is not None and known.hardware != gpu:
            capacity = moved(capacity, state.terms_in_force, known, None)
    return Decision(replace(state, cards=state.cards.put(device_id, tuple(cards)), capacity=capacity), events)


def restand(state: State, device_id: str, at_ms: int) -> Ruled:
    """Announces each GPU of a device that no longer stands as it did."""
    cards, device = state.cards.get(device_id), state.devices.get(device_id)
    if not cards or device is None:
        return Decision(state)
    contributor = state.contributor(device.contributor)
    standings = _standings(state.terms_in_force, contributor, device, state.pulses.get(device_id), cards)
    after: list[Card] = []
    events: list[Outgoing] = []
    capacity = state.capacity
    for card, standing in zip(cards, standings, strict=True):
        # Who is gone, or was never there, isn't gone once more for another reason.
        is_still_gone = standing.state == "gone" and (card.standing is None or card.standing.state == "gone")
        if card.standing == standing or is_still_gone:
            after.append(card)
            continue
        after.append(replace(card, standing=standing))
        events.append(_out(device_id, device, card.hardware, standing, state, at_ms))
        capacity = moved(capacity, state.terms_in_force, card, after[-1])
    if not events:
        return Decision(state)
    return Decision(replace(state, cards=state.cards.put(device_id, tuple(after)), capacity=capacity), tuple(events))


def restand_each(state: State, devices: Iterable[str], at_ms: int) -> Ruled:
    return in_turn(state, [partial(restand, device_id=device_id, at_ms=at_ms) for device_id in devices])


def restand_all(state: State, at_ms: int) -> Ruled:
    """After a change that concerns everybody: other terms."""
    decision = restand_each(state, sorted(device_id for device_id, _ in state.cards.items()), at_ms)
    return decision._replace(state=replace(decision.state, capacity=capacity_of(decision.state)))


def _standings(
    terms: Terms | None, contributor: Contributor, device: Device, pulse: Pulse | None, cards: Sequence[Card]
) -> list[Standing]:
    if device.removed is not None:
        return [Standing("gone", device.removed)] * len(cards)
    if terms is None or pulse is None:
        return [card.standing or Standing("gone", "silent") for card in cards]
    lacks = hardware.missing([card.hardware for card in cards], terms)
    return [Standing("refused", "hardware", lack) if lack else _alive(contributor, pulse) for lack in lacks]


def _alive(contributor: Contributor, pulse: Pulse) -> Standing:
    """Of a GPU that the terms take. What matters most comes first."""
    if pulse.state == "gone":
        return Standing("gone", "said-goodbye" if pulse.goodbye else "silent")
    if contributor.state == "draining":
        return Standing("draining", "leaving")
    if contributor.suspended:
        return Standing("draining", "contributor-suspended")
    return Standing("suspect", "silent") if pulse.state == "suspect" else Standing("online")


def _out(device_id: str, device: Device, gpu: Gpu, standing: Standing, state: State, at_ms: int) -> Outgoing:
    number = gpu_id(device_id, gpu.hardware_id)
    whose = {"gpu": number, "device": device_id, "contributor": device.contributor, "as_of": time_of(at_ms)}
    event: Event
    match standing.state:
        case "online":
            event = GpuOnline(hardware=gpu, **whose)
        case "refused":
            assert state.terms_in_force is not None
            why = hardware.sentence(gpu, standing.missing, state.terms_in_force)
            event = GpuRefused(reason=standing.reason, sentence=why, missing=standing.missing, hardware=gpu, **whose)
        case "suspect":
            event = GpuSuspect(reason=standing.reason, sentence=_sentence(standing, state), **whose)
        case "draining":
            event = GpuDraining(reason=standing.reason, sentence=_sentence(standing, state), **whose)
        case "gone":
            event = GpuGone(reason=standing.reason, sentence=_sentence(standing, state), **whose)
    return Outgoing(REGISTRY_GPUS, number, event, at_ms)


def _sentence(standing: Standing, state: State) -> str:
    if standing.reason in REMOVALS:
        return REMOVALS[standing.reason]
    terms = state.terms_in_force
    seconds = 0 if terms is None else terms.downtime.suspect_after_s
    if terms is not None and standing.state == "gone":
        seconds = terms.downtime.gone_after_s
    return STANDINGS[standing.reason].format(seconds=seconds)


def moved(
    capacity: Mapping[str, Capacity], terms: Terms | None, before: Card, after: Card | None
) -> Mapping[str, Capacity]:
    """The capacity when a card that stood like ``before`` stands like ``after``."""
    changed = dict(capacity)
    for card, sign in ((before, -1), (after, 1)):
        if terms is None or card is None or card.standing is None or card.standing.state != "online":
            continue
        for workload in hardware.workloads(card.hardware, terms):
            gpus, slots = changed.get(workload, Capacity())
            changed[workload] = Capacity(gpus + sign, slots + sign * card.hardware.slots)
    return changed


def capacity_of(state: State) -> Mapping[str, Capacity]:
    """The same from scratch: under other terms other workloads count."""
    capacity: Mapping[str, Capacity] = {}
    for _, cards in state.cards.items():
        for card in cards:
            capacity = moved(capacity, state.terms_in_force, Card(card.hardware), card)
    return capacity
