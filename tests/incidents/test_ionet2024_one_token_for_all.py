"""Incident 40, `ionet2024-one-token-for-all`: one token was valid on every GPU, and the owner was read from a header.

Strangers who had a token, and knew the ids of others, renamed other people's devices. Here identity is the verified key's
and nothing else's: what names somebody else in its body changes nothing. This is the registry's side; edge has its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from millpond.events.agent_claims import Heartbeat
from millpond.events.agent_enrolments import DeviceRevoked, LeaveAsked
from millpond.events.event import Event
from millpond.events.registry_members import DeviceRefused
from registry.pond import SOFTWARE, Machine, Pond, Wallet, open_pond

ADA, BOB = Wallet("ada"), Wallet("bob")


@dataclass
class TwoContributors:
    """Ada and Bob are in, each with a machine that beats. Bob is the one who tries."""

    pond: Pond = field(default_factory=open_pond)
    hers: Machine = field(default_factory=lambda: Machine("ada-1"))
    his: Machine = field(default_factory=lambda: Machine("bob-1", gpus=(SOFTWARE,)))

    def __post_init__(self) -> None:
        ADA.nonce = BOB.nonce = 0
        self.delegated = ADA.delegates(self.hers)
        self.pond.enrols(self.delegated)
        self.beaten = self.hers.beats()
        self.pond.beat(self.beaten)
        self.pond.member(BOB, self.his)

    def of_ada(self) -> list[tuple[str, bytes]]:
        """Every record that names her, her device or her GPU, byte for byte."""
        ids = (ADA.address.encode(), self.hers.device.encode())
        records = [(out.key, out.event.to_bytes()) for out in self.pond.said]
        return [(key, value) for key, value in records if any(each in value or each in key.encode() for each in ids)]


Attempt = Callable[[TwoContributors], list[Event]]


def beats_with_her_device_id(two: TwoContributors) -> list[Event]:
    return two.pond.beat(two.his.beats().model_copy(update={"device": two.hers.device}))


def signs_her_goodbye(two: TwoContributors) -> list[Event]:
    goodbye = two.his.beats(leaving=True)
    return two.pond.beat(Heartbeat(device=two.hers.device, payload=goodbye.payload, signature=goodbye.signature))


def replays_her_beat(two: TwoContributors) -> list[Event]:
    return two.pond.beat(two.beaten)


def replays_her_delegation_as_his(two: TwoContributors) -> list[Event]:
    return two.pond.enrols(two.delegated.model_copy(update={"signer": BOB.address}))


def delegates_her_device_to_himself(two: TwoContributors) -> list[Event]:
    return two.pond.enrols(BOB.delegates(two.hers))


def revokes_her_device(two: TwoContributors) -> list[Event]:
    return two.pond.enrols(BOB.revokes(two.hers))


def revokes_in_her_name(two: TwoContributors) -> list[Event]:
    revoked = BOB.revokes(two.hers).model_dump() | {"signer": ADA.address}
    return two.pond.enrols(DeviceRevoked.model_validate_json(json.dumps(revoked)))


def leaves_in_her_name(two: TwoContributors) -> list[Event]:
    leave = BOB.leaves().model_dump() | {"signer": ADA.address}
    return two.pond.enrols(LeaveAsked.model_validate_json(json.dumps(leave)))


ATTEMPTS: list[Attempt] = [
    beats_with_her_device_id,
    signs_her_goodbye,
    replays_her_beat,
    replays_her_delegation_as_his,
    delegates_her_device_to_himself,
    revokes_her_device,
    revokes_in_her_name,
    leaves_in_her_name,
]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: attempt.__name__)
def test_what_bob_sends_in_ada_s_name_leaves_her_as_she_is(attempt: Attempt) -> None:
    two = TwoContributors()
    before, standing = two.of_ada(), two.pond.state.contributor(ADA.address)
    pulse = two.pond.state.pulses.get(two.hers.device)
    said = attempt(two)
    # At most a word to Bob that it doesn't count, and why.
    assert all(isinstance(event, DeviceRefused) and event.contributor == BOB.address for event in said)
    assert [record for record in two.of_ada() if BOB.address.encode() not in record[1]] == before
    assert two.pond.state.contributor(ADA.address) == standing
    assert two.pond.state.pulses.get(two.hers.device) == pulse
    assert two.pond.standing(two.hers) == ["online"]


def test_the_same_gpu_uuid_on_his_machine_is_another_gpu() -> None:
    two = TwoContributors()
    before = two.of_ada()
    copied = SOFTWARE.model_copy(update={"slots": 64, "model": "mine now"})
    two.his.gpus = (copied,)
    assert len(two.pond.beat(two.his.beats(inventory=True))) == 2
    assert two.of_ada() == before


def test_a_revoked_key_is_out_with_the_revocation_and_touches_no_other() -> None:
    two, second = TwoContributors(), Machine("bob-2")
    two.pond.member(BOB, second)
    two.pond.enrols(BOB.revokes(two.his))
    assert two.pond.beat(two.his.beats(inventory=True)) == []
    assert [two.pond.standing(each) for each in (two.his, second, two.hers)] == [["gone"], ["online"], ["online"]]


class OneToken:
    """What the incident ran: whoever has a valid token is whom the body says."""

    def __init__(self, tokens: set[str], owners: dict[str, str]) -> None:
        self.tokens, self.owners = tokens, owners

    def beat(self, token: str, body: dict[str, str]) -> None:
        if token in self.tokens:
            self.owners[body["device"]] = body["contributor"]


def test_with_one_token_for_all_a_stranger_renames_her_device() -> None:
    naive = OneToken({"ada's", "bob's"}, {"ada-1": "ada"})
    naive.beat("bob's", {"device": "ada-1", "contributor": "bob"})
    assert naive.owners == {"ada-1": "bob"}
