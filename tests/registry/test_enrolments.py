"""Who comes in: what both have signed, once, for one contributor, by the policy of the terms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millpond.events.agent_enrolments import DeviceDelegated, SignedIn
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorWaits,
    DeviceRefused,
    DeviceRegistered,
)
from millpond.events.topics import AGENT_ENROLMENTS
from millpond.identity import DelegateDevice, Domain, SuspendContributor, sign_action
from registry.pond import (
    IN_A_YEAR_S,
    START_MS,
    Machine,
    Pond,
    Wallet,
    kinds,
    open_pond,
    terms,
)


@pytest.fixture
def ada() -> Wallet:
    return Wallet("ada")


@pytest.fixture
def machine() -> Machine:
    return Machine("ada-1")


def refusals(pond: Pond) -> list[str]:
    return [event.reason for event in pond.words(DeviceRefused)]


def test_an_open_pool_lets_in_whoever_delegates_a_device_that_agrees(ada: Wallet, machine: Machine) -> None:
    pond = open_pond()
    delegated = ada.delegates(machine)
    admitted, registered = pond.enrols(delegated)
    assert admitted == ContributorAdmitted(contributor=ada.address, policy="open")
    assert isinstance(registered, DeviceRegistered)
    assert (registered.contributor, registered.device, registered.scope) == (ada.address, machine.device, "work")
    assert registered.expires_at.timestamp() == IN_A_YEAR_S
    # The second device needs no second admission.
    assert kinds(pond.enrols(ada.delegates(Machine("ada-2")))) == ["DeviceRegistered"]


def test_before_there_are_terms_everybody_waits_and_the_first_terms_let_them_in(ada: Wallet, machine: Machine) -> None:
    pond = Pond()
    (waits,) = pond.enrols(ada.delegates(machine))
    assert isinstance(waits, ContributorWaits)
    assert (waits.reason, waits.device) == ("no-terms", machine.device)
    assert pond.beat(machine.beats()) == []
    assert kinds(pond.publishes(terms())) == ["TermsPublished", "ContributorAdmitted", "DeviceRegistered"]
    assert kinds(pond.beat(machine.beats(inventory=True))) == ["GpuOnline", "CapacityChanged"]


def test_terms_of_a_later_epoch_let_nobody_in_before_it_begins(ada: Wallet, machine: Machine) -> None:
    pond = Pond()
    pond.enrols(ada.delegates(machine))
    assert kinds(pond.publishes(terms(effective_from_epoch=2))) == ["TermsPublished"]
    assert pond.closes(0) == []
    assert kinds(pond.closes(1)) == ["ContributorAdmitted", "DeviceRegistered"]


@pytest.mark.parametrize(
    ("admission", "reason"), [({"policy": "approval"}, "approval"), ({"external_gpus": False}, "no-external-gpus")]
)
def test_where_the_terms_ask_for_it_the_operator_lets_in_with_all_that_wait(
    admission: dict[str, Any], reason: str, ada: Wallet
) -> None:
    pond = open_pond(admission=admission)
    machines = [Machine("ada-1"), Machine("ada-2")]
    for machine in machines:
        (waits,) = pond.enrols(ada.delegates(machine))
        assert isinstance(waits, ContributorWaits)
        assert waits.reason == reason
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted", "DeviceRegistered", "DeviceRegistered"]
    assert {event.device for event in pond.words(DeviceRegistered)} == {machine.device for machine in machines}
    assert kinds(pond.enrols(ada.delegates(Machine("ada-3")))) == ["DeviceRegistered"]


def test_an_approval_may_come_before_the_question(ada: Wallet, machine: Machine) -> None:
    pond = open_pond(admission={"policy": "approval"})
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted"]
    assert kinds(pond.enrols(ada.delegates(machine))) == ["DeviceRegistered"]


def test_a_delegation_that_ended_while_it_waited_is_refused_at_the_approval(ada: Wallet, machine: Machine) -> None:
    pond = open_pond(admission={"policy": "approval"})
    pond.enrols(ada.delegates(machine, expires_at=START_MS // 1000 + 60))
    pond.passes(61)
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted", "DeviceRefused"]
    assert refusals(pond) == ["delegation-expired"]


def forged(event: DeviceDelegated, **changes: Any) -> DeviceDelegated:
    return event.model_copy(update=changes)


def stolen(ada: Wallet, machine: Machine) -> DeviceDelegated:
    """Eve delegates Ada's machine to herself, with the consent that it gave to Ada."""
    return forged(Wallet("eve").delegates(machine), consent=machine.consents_to(ada.address))


def for_another_pool(ada: Wallet, machine: Machine) -> DeviceDelegated:
    action = DelegateDevice(device=machine.device, scope="work", expires_at=IN_A_YEAR_S, nonce=1)
    signed = sign_action(action, domain=Domain(pool="lake", chain_id=31_337), private_key=ada.key)
    return forged(ada.delegates(machine), signature=signed.signature)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda ada, m: forged(ada.delegates(m), signer=ada.address.lower()), "address-without-checksum"),
        (lambda ada, m: forged(ada.delegates(m), signer=Wallet("eve").address), "wrong-signature"),
        (lambda ada, m: forged(e := ada.delegates(m), message={**e.message, "expires_at": 2**40}), "wrong-signature"),
        (lambda ada, m: forged(e := ada.delegates(m), message={**e.message, "extra": 1}), "wrong-signature"),
        (for_another_pool, "wrong-signature"),
        (stolen, "no-consent"),
        (lambda ada, m: forged(ada.delegates(m), consent=Machine("ada-2").consents_to(ada.address)), "no-consent"),
        (lambda ada, m: ada.delegates(m, scope="money"), "wrong-scope"),
        (lambda ada, m: ada.delegates(m, expires_at=START_MS // 1000), "delegation-expired"),
        (lambda ada, m: ada.delegates(m, expires_at=2**200), "expires-too-late"),
    ],
)
def test_what_is_not_signed_as_it_should_be_lets_nobody_in(
    make: Any, reason: str, ada: Wallet, machine: Machine
) -> None:
    pond = open_pond()
    (refused,) = pond.enrols(make(ada, machine))
    assert isinstance(refused, DeviceRefused)
    assert (refused.reason, refused.device) == (reason, machine.device)
    assert "{" not in refused.sentence
    assert pond.beat(machine.beats()) == []


def test_a_device_that_is_no_key_is_refused_where_it_can_be_read(ada: Wallet, machine: Machine) -> None:
    pond = open_pond()
    event = ada.delegates(machine)
    assert pond.enrols(forged(event, message={**event.message, "device": "0xABC"})) == []
    assert len(pond.refusals) == 1
    assert pond.refusals[0].startswith("wrong-signature: ")


def test_a_wallet_in_lower_case_and_with_its_checksum_is_one_contributor(ada: Wallet) -> None:
    """Incident 28 (miningcore710-id-alias): compared as text, one wallet was two."""
    pond = open_pond()
    pond.enrols(ada.delegates(Machine("ada-1")))
    lower = forged(ada.delegates(Machine("ada-2")), signer=ada.address.lower())
    (refused,) = pond.take(pond.received(AGENT_ENROLMENTS, ada.address.lower(), lower))
    assert isinstance(refused, DeviceRefused)
    # Refused with a reason, to the one contributor that there is.
    assert (refused.contributor, refused.reason) == (ada.address, "address-without-checksum")
    assert {out.key for out in pond.said if out.topic.name == "registry.members.v1"} == {ada.address}
    assert [address for address, _ in pond.state.contributors.items()] == [ada.address]

    naive = dict.fromkeys((ada.address, ada.address.lower()), True)
    assert len(naive) == 2


def test_a_device_works_for_one_contributor_until_he_lets_it_go(ada: Wallet, machine: Machine) -> None:
    pond, eve = open_pond(), Wallet("eve")
    pond.member(ada, machine)
    # Also with the device's consent: who has its key can't sell it twice.
    (refused,) = pond.enrols(eve.delegates(machine))
    assert isinstance(refused, DeviceRefused)
    assert (refused.contributor, refused.reason) == (eve.address, "not-your-device")
    assert pond.standing(machine) == ["online"]
    pond.beat(machine.beats(leaving=True))
    pond.enrols(ada.leaves())
    assert kinds(pond.enrols(eve.delegates(machine)))[:2] == ["ContributorAdmitted", "DeviceRegistered"]


def test_of_two_who_wait_with_one_device_the_first_to_be_approved_has_it(ada: Wallet, machine: Machine) -> None:
    pond, eve = open_pond(admission={"policy": "approval"}), Wallet("eve")
    pond.enrols(ada.delegates(machine))
    pond.enrols(eve.delegates(machine))
    assert kinds(pond.approves(eve)) == ["ContributorAdmitted", "DeviceRegistered"]
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted", "DeviceRefused"]


def test_delegations_of_one_wallet_count_in_any_order_but_of_one_device_only_upwards(ada: Wallet) -> None:
    pond = open_pond()
    machines = [Machine(f"ada-{number}") for number in range(3)]
    signed = [ada.delegates(machine) for machine in machines]
    for event in reversed(signed):
        pond.enrols(event)
    assert len(pond.words(DeviceRegistered)) == 3
    later = ada.delegates(machines[0], nonce=50)
    earlier = ada.delegates(machines[0], nonce=49)
    assert kinds(pond.enrols(later)) == ["DeviceRegistered"]
    assert kinds(pond.enrols(earlier)) == ["DeviceRefused"]
    assert refusals(pond) == ["nonce-too-low"]


def test_who_is_suspended_gets_nothing_in_until_the_operator_says_so(ada: Wallet, machine: Machine) -> None:
    pond = open_pond()
    pond.member(ada, machine)
    said = pond.orders(SuspendContributor(contributor=ada.address, reason="Outputs did not match.", nonce=pond.nonce()))
    assert kinds(said) == ["ContributorSuspended", "GpuDraining", "CapacityChanged"]
    pond.enrols(ada.delegates(Machine("ada-2")))
    assert refusals(pond) == ["contributor-suspended"]
    # Leaving doesn't wash it off.
    pond.beat(machine.beats(leaving=True))
    pond.enrols(ada.leaves())
    pond.enrols(ada.delegates(Machine("ada-3")))
    assert refusals(pond) == ["contributor-suspended"] * 2
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted"]
    assert kinds(pond.enrols(ada.delegates(machine))) == ["DeviceRegistered"]


def test_a_suspended_contributor_who_waited_isn_t_let_in_by_other_terms(ada: Wallet, machine: Machine) -> None:
    pond = open_pond(admission={"policy": "approval"})
    pond.enrols(ada.delegates(machine))
    pond.orders(SuspendContributor(contributor=ada.address, reason="no", nonce=pond.nonce()))
    assert kinds(pond.publishes(terms(2))) == ["TermsPublished"]
    assert kinds(pond.approves(ada)) == ["ContributorAdmitted", "DeviceRegistered"]


def test_that_a_wallet_signed_in_is_evidence_and_changes_nothing(ada: Wallet) -> None:
    pond = open_pond()
    before = replace(pond.state)
    signed_in = SignedIn(contributor=ada.address, text="pond wants you to sign in", nonce="abcdefgh", signature="0x00")
    assert pond.take(pond.received(AGENT_ENROLMENTS, ada.address, signed_in)) == []
    assert pond.state == before


def test_a_renewed_delegation_counts_from_then_on_and_no_gpu_blinks(ada: Wallet, machine: Machine) -> None:
    pond = open_pond()
    pond.enrols(ada.delegates(machine, expires_at=START_MS // 1000 + 100))
    pond.beat(machine.beats())
    assert kinds(pond.enrols(ada.delegates(machine, expires_at=START_MS // 1000 + 500))) == ["DeviceRegistered"]
    assert pond.lives(200, [machine]) == []
    assert kinds(pond.lives(305, [machine])) == ["DeviceRemoved", "GpuGone", "CapacityChanged"]
