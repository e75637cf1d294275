"""A registry made anew from its own topics knows what the lost one knew, whatever had happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from millpond.events.agent_claims import Heartbeat
from millpond.events.rewards_epochs import EpochClosing
from millpond.events.topics import AGENT_ENROLMENTS, AGENT_HEARTBEATS, REWARDS_EPOCHS
from millpond.identity import SuspendContributor
from millpond_registry.rules import State, decide, fold, recall
from millpond_registry.rules.state import Capacity
from registry.pond import POOL, Machine, Pond, Wallet, card, terms

WALLETS = ("ada", "bob")
MACHINES = ("one", "two", "three")


def told(state: State) -> dict[str, Any]:
    """What must be the same; signs of life are recalled from the inputs, and differ by what came after the last output."""
    return {
        "terms": state.terms,
        "contributors": dict(state.contributors.items()),
        "devices": dict(state.devices.items()),
        "cards": {
            device: {each.hardware.hardware_id: each.standing for each in cards if each.standing}
            for device, cards in state.cards.items()
        },
        "gateways": dict(state.gateways.items()),
        "nonces": dict(state.nonces.items()),
        "advertised": {name: each for name, each in state.advertised.items() if each != Capacity()},
        "capacity": {name: each for name, each in state.capacity.items() if each != Capacity()},
        "paused": state.flow.paused_ms,
        "alive": {
            device for device, pulse in state.pulses.items() if pulse.state == "alive" and announced(state, device)
        },
    }


def announced(state: State, device: str) -> bool:
    return any(
        each.standing and each.standing.state not in ("gone", "refused") for each in state.cards.get(device) or ()
    )


class Life:
    """A pond, two wallets, three machines, and whatever may happen to them."""

    def __init__(self) -> None:
        self.pond = Pond()
        self.version = 0
        self.wallets = {name: Wallet(name) for name in WALLETS}
        self.machines = {name: Machine(name, gpus=(card(1), card(2))) for name in MACHINES}

    def publish(self, policy: str, models: list[str]) -> None:
        self.version += 1
        hardware = {"gpu_models": models, "multiple_gpus_per_node": self.version % 2 == 1}
        self.pond.publishes(terms(self.version, admission={"policy": policy}, hardware=hardware))

    def delegate(self, wallet: str, machine: str, seconds: int) -> None:
        ends = self.pond.now_ms // 1000 + seconds
        self.pond.enrols(self.wallets[wallet].delegates(self.machines[machine], expires_at=ends))

    def revoke(self, wallet: str, machine: str) -> None:
        self.pond.enrols(self.wallets[wallet].revokes(self.machines[machine]))

    def leave(self, wallet: str) -> None:
        self.pond.enrols(self.wallets[wallet].leaves())

    def approve(self, wallet: str) -> None:
        self.pond.approves(self.wallets[wallet])

    def suspend(self, wallet: str) -> None:
        address = self.wallets[wallet].address
        self.pond.orders(SuspendContributor(contributor=address, reason="r", nonce=self.pond.nonce()))

    def beat(self, machine: str, running: int, leaving: bool) -> None:
        self.pond.beat(self.machines[machine].beats(inventory=True, running=running, leaving=leaving))

    def swap(self, machine: str, gpus: int) -> None:
        self.machines[machine].gpus = (card(1), card(2), card(3))[:gpus]

    def wait(self, seconds: int) -> None:
        self.pond.passes(seconds)


wallets, machines = st.sampled_from(WALLETS), st.sampled_from(MACHINES)
happenings = st.one_of(
    st.builds(partial, st.just(Life.publish), policy=st.sampled_from(("open", "approval")),
              models=st.sampled_from(([], ["A100"]))),
    st.builds(partial, st.just(Life.delegate), wallet=wallets, machine=machines, seconds=st.sampled_from((20, 9_999))),
    st.builds(partial, st.just(Life.revoke), wallet=wallets, machine=machines),
    st.builds(partial, st.just(Life.leave), wallet=wallets),
    st.builds(partial, st.just(Life.approve), wallet=wallets),
    st.builds(partial, st.just(Life.suspend), wallet=wallets),
    st.builds(partial, st.just(Life.beat), machine=machines, running=st.integers(0, 1), leaving=st.booleans()),
    st.builds(partial, st.just(Life.beat), machine=machines, running=st.integers(0, 1), leaving=st.just(False)),
    st.builds(partial, st.just(Life.swap), machine=machines, gpus=st.integers(1, 3)),
    st.builds(partial, st.just(Life.wait), seconds=st.sampled_from((1, 7, 18, 40))),
)  # fmt: skip


# Each signature takes a while: a failing life is shown as it is, not made smaller first.
@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(happened=st.lists(happenings, min_size=5, max_size=30), start=st.sampled_from(("open", "approval", None)))
def test_what_it_published_tells_all_that_it_knew(happened: list[Callable[[Life], None]], start: str | None) -> None:
    life = Life()
    if start:
        life.publish(start, [])
    for happen in happened:
        happen(life)
    assert told(life.pond.rebuilt()) == told(life.pond.state)


def test_after_a_life_with_everything_in_it_the_rebuilt_one_knows_the_same_at_each_step() -> None:
    life = Life()
    steps: list[Callable[[Life], None]] = [
        lambda life: life.delegate("ada", "one", 9_999),  # waits: there are no terms
        lambda life: life.publish("open", []),
        lambda life: life.beat("one", 1, False),
        lambda life: life.swap("one", 1),
        lambda life: life.beat("one", 1, False),  # a card was taken out
        lambda life: life.delegate("ada", "two", 20),
        lambda life: life.beat("two", 0, False),
        lambda life: life.publish("approval", ["A100"]),  # refused by other terms
        lambda life: life.delegate("bob", "three", 9_999),
        lambda life: life.approve("bob"),
        lambda life: life.beat("three", 0, False),
        lambda life: life.publish("approval", []),
        lambda life: life.suspend("bob"),
        lambda life: life.wait(25),  # one ends, the others are silent
        lambda life: life.beat("one", 1, False),
        lambda life: life.leave("ada"),
        lambda life: life.beat("one", 0, True),  # has left
        lambda life: life.delegate("ada", "two", 9_999),  # waits again, above the nonce of leaving
        lambda life: life.revoke("ada", "one"),
        lambda life: life.revoke("bob", "two"),
        lambda life: life.revoke("bob", "three"),
    ]
    for number, step in enumerate(steps):
        step(life)
        assert told(life.pond.rebuilt()) == told(life.pond.state), number


def test_the_numbers_of_the_last_beats_and_the_running_epoch_are_recalled_from_the_inputs() -> None:
    pond, ada, machine = Pond(), Wallet("ada"), Machine("one")
    pond.publishes(terms())
    inputs = [pond.received(AGENT_ENROLMENTS, ada.address, ada.delegates(machine))]
    beats: list[Heartbeat] = [machine.beats() for _ in range(3)]
    inputs += [pond.received(AGENT_HEARTBEATS, machine.device, beat) for beat in beats]
    pond.take(*inputs)
    pond.closes(6)
    state = pond.rebuilt()
    for received in inputs:
        state = recall(POOL, state, received).state
    assert state.pulses.get(machine.device) == pond.state.pulses.get(machine.device)
    # A beat from before the loss that comes again revives nobody.
    again = pond.received(AGENT_HEARTBEATS, machine.device, beats[1], at_ms=pond.now_ms + 60_000)
    assert decide(POOL, state, again).state.pulses is state.pulses
    closing = pond.received(
        REWARDS_EPOCHS, "pond", EpochClosing(epoch=6, ends={}, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    )
    assert recall(POOL, state, closing).state.epoch == pond.state.epoch == 7


def test_a_rebuilt_registry_looks_for_silence_and_for_delegations_that_end() -> None:
    pond, ada, machine = Pond(), Wallet("ada"), Machine("one")
    pond.publishes(terms())
    pond.member(ada, machine)
    timers: dict[str, int | None] = {}
    state = State()
    for offset, out in enumerate(pond.said):
        value = out.event.to_bytes()
        received = pond.received(out.topic, out.key, out.event)._replace(
            offset=offset, stamp_ms=out.time_ms, value=value
        )
        decision = fold(state, received)
        state = decision.state
        timers |= {timer.name: timer.at_ms for timer in decision.timers}
    assert timers == pond.timers
