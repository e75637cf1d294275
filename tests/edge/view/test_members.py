"""Who may work: what the registry said last, and nothing that anybody else said."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked
from millpond.events.event import Event
from millpond.events.registry_members import (
    ContributorAdmitted,
    ContributorDraining,
    ContributorLeft,
    ContributorSuspended,
    DeviceRefused,
    DeviceRegistered,
    DeviceRemoved,
)
from millpond.stream.decision import Received
from millpond.stream.record import Place
from millpond_edge.view.members import Members

ALICE, MALLORY = "0x" + "aa" * 20, "0x" + "ee" * 20
DEVICE = "0x" + "d0" * 32
NOON_MS = 1_800_000_000_000
LATER = datetime.fromtimestamp(NOON_MS / 1000 + 3_600, tz=UTC)


def heard(*events: Event | tuple[Event, int]) -> Members:
    members = Members()
    for each in events:
        event, stamp_ms = each if isinstance(each, tuple) else (each, NOON_MS)
        members.apply(Received("t", Place("t", 0), 0, "k", event, stamp_ms, b""))
    return members


def registered(contributor: str = ALICE, **changes: Any) -> DeviceRegistered:
    facts = {"contributor": contributor, "device": DEVICE, "delegation": "0x" + "de" * 32, "expires_at": LATER}
    return DeviceRegistered(scope="work", **{**facts, **changes})


def delegated(signer: str = ALICE) -> DeviceDelegated:
    message: dict[str, int | str] = {"device": DEVICE, "nonce": 1}
    facts = {"signer": signer, "message": message, "signature": "0x00", "consent": "0x" + "00" * 64}
    return DeviceDelegated(action="DelegateDevice", **facts)


def refused(contributor: str = ALICE) -> DeviceRefused:
    return DeviceRefused(contributor=contributor, device=DEVICE, reason="not-consented", sentence="It does not agree.")


REMOVED = DeviceRemoved(contributor=ALICE, device=DEVICE, reason="revoked", sentence="The wallet revoked it.")
ADMITTED = ContributorAdmitted(contributor=ALICE, policy="open")
SUSPENDED = ContributorSuspended(contributor=ALICE, reason="by-operator", sentence="For looking twice.")


def test_a_registered_device_works_for_its_contributor_until_its_delegation_ends() -> None:
    members = heard(ADMITTED, registered())
    assert members.works_for(DEVICE, NOON_MS) == ALICE
    assert members.works_for(DEVICE, int(LATER.timestamp() * 1000) - 1) == ALICE
    assert members.works_for(DEVICE, int(LATER.timestamp() * 1000)) is None


def test_nobody_knows_a_stranger() -> None:
    assert heard().device(DEVICE).state == "unknown"
    why = heard().why_not(DEVICE, NOON_MS)
    assert why is not None
    assert why[0] == "device-unknown"


def test_revoked_or_suspended_ends_it_at_once_and_says_why() -> None:
    for event, reason in ((REMOVED, "device-removed"), (SUSPENDED, "contributor-suspended")):
        why = heard(ADMITTED, registered(), event).why_not(DEVICE, NOON_MS)
        assert why is not None
        assert (why[0], event.sentence in why[1]) == (reason, True)
    assert heard(ADMITTED, registered(), SUSPENDED, ADMITTED).works_for(DEVICE, NOON_MS) == ALICE


def test_who_drains_finishes_and_who_has_left_does_not_begin() -> None:
    draining = ContributorDraining(contributor=ALICE)
    assert heard(ADMITTED, registered(), draining).works_for(DEVICE, NOON_MS) == ALICE
    assert (
        heard(ADMITTED, registered(), draining, ContributorLeft(contributor=ALICE)).works_for(DEVICE, NOON_MS) is None
    )


def test_a_delegation_waits_until_it_is_answered_in_whatever_order_the_topics_are_read() -> None:
    assert heard(delegated()).device(DEVICE).state == "waiting"
    for events in ((delegated(), registered()), (registered(), delegated())):
        assert heard(*events).device(DEVICE).state == "registered"
    for events in ((delegated(), refused()), (refused(), delegated())):
        assert heard(*events).device(DEVICE).state == "refused"


def test_a_new_delegation_after_a_removal_waits_again() -> None:
    assert heard(REMOVED, (delegated(), NOON_MS + 1)).device(DEVICE).state == "waiting"


@pytest.mark.parametrize("signer", [MALLORY, ALICE])
def test_a_refused_delegation_takes_nothing_from_a_device_that_works(signer: str) -> None:
    assert heard(ADMITTED, registered(), delegated(signer), refused(signer)).works_for(DEVICE, NOON_MS) == ALICE


def revoked(signer: str = ALICE) -> DeviceRevoked:
    message: dict[str, int | str] = {"device": DEVICE, "nonce": 2}
    return DeviceRevoked(action="RevokeDevice", signer=signer, message=message, signature="0x00")


def test_a_revocation_counts_before_the_registry_has_answered_in_whatever_order_the_topics_are_read() -> None:
    at_one, at_two = NOON_MS + 1, NOON_MS + 2
    for events in ((registered(), (revoked(), at_one)), ((revoked(), at_one), registered())):
        members = heard(ADMITTED, *events)
        assert (members.device(DEVICE).state, members.device(DEVICE).reason) == ("removed", "revoked")
        assert members.works_for(DEVICE, NOON_MS) is None
    assert heard(delegated(), (revoked(), at_one)).device(DEVICE).state == "removed"
    # What the registry says later of a later delegation counts.
    again = heard(ADMITTED, registered(), (revoked(), at_one), (REMOVED, at_one), (registered(), at_two))
    assert again.works_for(DEVICE, NOON_MS) == ALICE


def test_nobody_s_revocation_but_the_contributor_s_takes_anything_away() -> None:
    members = heard(ADMITTED, registered(), (revoked(MALLORY), NOON_MS + 1))
    assert members.works_for(DEVICE, NOON_MS) == ALICE


def test_a_contributor_s_devices_are_those_that_are_no_other_s() -> None:
    assert heard(delegated()).devices_of(ALICE) == (DEVICE,)
    moved = heard(registered(), (REMOVED, NOON_MS + 1), (registered(MALLORY), NOON_MS + 2))
    assert (moved.devices_of(ALICE), moved.devices_of(MALLORY)) == ((), (DEVICE,))
    assert heard(registered(), delegated(MALLORY)).devices_of(MALLORY) == ()


EVENTS = st.sampled_from(
    [ADMITTED, SUSPENDED, REMOVED, registered(), delegated(), revoked(), refused(), refused(MALLORY)]
)


@given(st.lists(EVENTS))
def test_whatever_is_heard_only_a_registration_lets_work(events: list[Event]) -> None:
    if heard(*events).works_for(DEVICE, NOON_MS) is not None:
        assert any(isinstance(event, DeviceRegistered) for event in events)
