"""Revoked, expired, left: at once where it must be, and only when nothing runs where work is under way."""

from __future__ import annotations

import pytest

from millpond.events.agent_enrolments import DeviceRevoked, LeaveAsked
from millpond.events.registry_gpus import GpuGone
from millpond.events.registry_members import ContributorLeft, DeviceRefused, DeviceRemoved
from registry.pond import START_MS, Machine, Pond, Wallet, kinds, open_pond


@pytest.fixture
def ada() -> Wallet:
    return Wallet("ada")


@pytest.fixture
def machine() -> Machine:
    return Machine("ada-1")


@pytest.fixture
def pond(ada: Wallet, machine: Machine) -> Pond:
    """Ada's machine is in and beats."""
    pond = open_pond()
    pond.member(ada, machine)
    return pond


def test_a_revoked_device_is_out_at_once_and_for_ever_and_no_other_is_touched(
    pond: Pond, ada: Wallet, machine: Machine
) -> None:
    other = Machine("ada-2")
    pond.member(ada, other)
    said = pond.enrols(ada.revokes(machine))
    assert kinds(said) == ["DeviceRemoved", "GpuGone", "CapacityChanged"]
    assert pond.beat(machine.beats(inventory=True)) == []
    assert (pond.standing(machine), pond.standing(other)) == (["gone"], ["online"])
    pond.enrols(ada.delegates(machine))
    pond.enrols(Wallet("eve").delegates(machine))
    assert [event.reason for event in pond.words(DeviceRefused)] == ["revoked", "revoked"]
    assert pond.enrols(ada.revokes(machine)) == []


def test_a_delegation_can_be_revoked_before_anybody_hands_it_in(pond: Pond, ada: Wallet) -> None:
    stray = Machine("stray")
    leaked = ada.delegates(stray)
    assert kinds(pond.enrols(ada.revokes(stray))) == ["DeviceRemoved"]
    pond.enrols(leaked)
    assert [event.reason for event in pond.words(DeviceRefused)] == ["revoked"]
    # It was Ada's word: the device's owner may still lend it for somebody else.
    assert "DeviceRegistered" in kinds(pond.enrols(Wallet("bob").delegates(stray)))


def test_nobody_revokes_a_stranger_s_device(pond: Pond, machine: Machine) -> None:
    eve = Wallet("eve")
    (refused,) = pond.enrols(eve.revokes(machine))
    assert isinstance(refused, DeviceRefused)
    assert (refused.contributor, refused.reason) == (eve.address, "not-your-device")
    assert pond.standing(machine) == ["online"]
    waiting = open_pond(admission={"policy": "approval"})
    waiting.enrols(Wallet("ada").delegates(machine, nonce=9))
    assert kinds(waiting.enrols(eve.revokes(machine))) == ["DeviceRefused"]


def test_a_delegation_expires_by_itself_and_can_be_renewed(ada: Wallet, machine: Machine) -> None:
    pond = open_pond()
    pond.enrols(ada.delegates(machine, expires_at=START_MS // 1000 + 60))
    pond.beat(machine.beats())
    assert pond.lives(55, [machine]) == []
    said = pond.lives(10, [machine])
    assert kinds(said) == ["DeviceRemoved", "GpuGone", "CapacityChanged"]
    assert [event.reason for event in pond.words(DeviceRemoved)] == ["expired"]
    assert pond.beat(machine.beats()) == []
    pond.enrols(ada.delegates(machine))
    # It goes on where it was: what it has is known.
    assert kinds(pond.beat(machine.beats())) == ["GpuOnline", "CapacityChanged"]


def test_who_leaves_drains_and_has_left_when_nothing_runs(pond: Pond, ada: Wallet, machine: Machine) -> None:
    assert kinds(pond.enrols(ada.leaves())) == ["ContributorDraining", "GpuDraining", "CapacityChanged"]
    for _ in range(6):
        pond.passes(5)
        assert pond.beat(machine.beats(running=1)) == []
    pond.passes(5)
    assert kinds(pond.beat(machine.beats(running=0))) == ["DeviceRemoved", "GpuGone", "ContributorLeft"]
    assert pond.beat(machine.beats()) == []


def test_an_idle_beat_right_after_asking_isn_t_the_end_since_a_job_may_be_on_its_way(
    pond: Pond, ada: Wallet, machine: Machine
) -> None:
    pond.enrols(ada.leaves())
    pond.passes(5)
    assert pond.beat(machine.beats(running=0)) == []
    pond.passes(5)
    # A lease's length later.
    assert "ContributorLeft" in kinds(pond.beat(machine.beats(running=0)))


def test_who_leaves_and_pulls_the_plug_has_left_when_the_device_is_gone(
    pond: Pond, ada: Wallet, machine: Machine
) -> None:
    pond.beat(machine.beats(running=1))
    pond.enrols(ada.leaves())
    assert kinds(pond.passes(25)) == []
    assert kinds(pond.passes(10)) == ["GpuGone", "DeviceRemoved", "ContributorLeft"]
    assert len(pond.words(GpuGone)) == 1


def test_who_has_no_device_that_runs_leaves_at_once(pond: Pond, ada: Wallet, machine: Machine) -> None:
    pond.beat(machine.beats(leaving=True))
    assert kinds(pond.enrols(ada.leaves())) == ["ContributorDraining", "DeviceRemoved", "ContributorLeft"]
    assert kinds(pond.enrols(Wallet("nobody").leaves())) == ["ContributorLeft"]


def test_a_new_delegation_comes_back_in_and_what_was_signed_before_leaving_does_not(ada: Wallet) -> None:
    pond, machine, spare = open_pond(), Machine("ada-1"), Machine("ada-2")
    pond.member(ada, machine)
    pond.beat(machine.beats(leaving=True))
    unused = ada.delegates(spare)
    pond.enrols(ada.leaves())
    assert kinds(pond.enrols(unused)) == ["DeviceRefused"]
    assert kinds(pond.enrols(ada.delegates(spare))) == ["ContributorAdmitted", "DeviceRegistered"]
    assert kinds(pond.enrols(ada.delegates(machine))) == ["DeviceRegistered"]


def test_a_new_delegation_while_draining_stays_in_with_all_devices(pond: Pond, ada: Wallet, machine: Machine) -> None:
    pond.enrols(ada.leaves())
    said = pond.enrols(ada.delegates(Machine("ada-2")))
    assert kinds(said) == ["ContributorAdmitted", "GpuOnline", "DeviceRegistered", "CapacityChanged"]
    assert pond.lives(30, [machine]) == []


def test_leaving_takes_the_waiting_devices_along(ada: Wallet, machine: Machine) -> None:
    pond = open_pond(admission={"policy": "approval"})
    pond.enrols(ada.delegates(machine))
    assert kinds(pond.enrols(ada.leaves())) == ["ContributorLeft"]
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted"]


def test_an_old_leave_that_comes_again_throws_nobody_out(pond: Pond, ada: Wallet, machine: Machine) -> None:
    old = ada.leaves(nonce=1)
    assert pond.enrols(old) == []
    assert pond.refusals[-1].startswith("nonce is 1, and 1 of the same signer")
    pond.beat(machine.beats(leaving=True))
    ada.nonce = 10
    first = ada.leaves()
    pond.enrols(first)
    pond.enrols(ada.delegates(machine))
    assert pond.enrols(first) == []
    assert pond.state.contributor(ada.address).state == "admitted"


def test_a_stranger_s_signature_under_ada_s_name_revokes_and_leaves_nothing(
    pond: Pond, ada: Wallet, machine: Machine
) -> None:
    eve = Wallet("eve", nonce=100)
    before = pond.state
    revoked, leave = eve.revokes(machine), eve.leaves()
    for event in (
        DeviceRevoked(**{**revoked.model_dump(), "signer": ada.address}),
        LeaveAsked(**{**leave.model_dump(), "signer": ada.address}),
    ):
        assert pond.enrols(event) == []
    assert [refusal.split(" is by ")[0] for refusal in pond.refusals] == [
        "signature of RevokeDevice",
        "signature of LeavePool",
    ]
    assert (pond.state.contributors, pond.state.devices) == (before.contributors, before.devices)
    assert pond.words(ContributorLeft) == []
