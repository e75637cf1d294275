"""What was carried is known with the registry's rules of nonces."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from millpond.events.agent_enrolments import DeviceDelegated, DeviceRevoked, EnrolmentAction, LeaveAsked
from millpond_edge.view.carried import Carried

ALICE, BOB = "0x" + "aa" * 20, "0x" + "bb" * 20


def delegated(device: int = 1, nonce: int = 1, signer: str = ALICE, **changes: Any) -> DeviceDelegated:
    message: dict[str, int | str] = {"device": f"0x{device:064x}", "nonce": nonce}
    facts = {"signer": signer, "message": message, "signature": "0x00", "consent": "0x" + "00" * 64, **changes}
    return DeviceDelegated(action="DelegateDevice", **facts)


def revoked(device: int = 1, nonce: int = 1) -> DeviceRevoked:
    message: dict[str, int | str] = {"device": f"0x{device:064x}", "nonce": nonce}
    return DeviceRevoked(action="RevokeDevice", signer=ALICE, message=message, signature="0x00")


def left(nonce: int) -> LeaveAsked:
    return LeaveAsked(action="LeavePool", signer=ALICE, message={"nonce": nonce}, signature="0x00")


def carried(*events: EnrolmentAction) -> Carried:
    known = Carried()
    for event in events:
        known.note(event)
    return known


def test_nonces_rise_for_each_device_and_above_leaving() -> None:
    known = carried(delegated(1, 5), delegated(2, 3))
    assert [known.must_exceed(delegated(device)) for device in (1, 2, 3)] == [5, 3, -1]
    assert known.must_exceed(delegated(1, signer=BOB)) == -1
    assert known.must_exceed(left(9)) == 5
    known.note(left(9))
    assert [known.must_exceed(delegated(device)) for device in (1, 3)] == [9, 9]


def test_a_revocation_needs_no_nonce_and_is_for_ever() -> None:
    known = carried(delegated(1, 5))
    assert known.must_exceed(revoked(1, 1)) == -1
    known.note(revoked(1, 1))
    assert known.is_revoked(ALICE, f"0x{1:064x}")
    assert not known.is_revoked(BOB, f"0x{1:064x}")
    assert not known.is_revoked(ALICE, f"0x{2:064x}")


def test_the_same_again_is_no_conflict_and_another_content_is() -> None:
    known = carried(delegated(1, 5))
    assert known.verdict(delegated(1, 5)) == "duplicate"
    assert known.verdict(delegated(2, 5)) == "conflict"
    assert known.verdict(delegated(1, 5, signature="0x01")) == "conflict"
    assert known.verdict(delegated(1, 6)) == "first"
    assert known.verdict(revoked(1, 5)) == "first"


EVENTS = st.one_of(
    st.builds(delegated, st.integers(1, 3), st.integers(0, 9)),
    st.builds(revoked, st.integers(1, 3), st.integers(0, 9)),
    st.builds(left, st.integers(0, 9)),
)


@given(st.lists(EVENTS), st.randoms(use_true_random=False), EVENTS)
def test_in_whatever_order_they_are_read_the_same_is_known(events: list[Any], chance: Any, asked: Any) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    one, other = carried(*events), carried(*shuffled)
    assert one.must_exceed(asked) == other.must_exceed(asked)
    assert one.last_nonce(ALICE) == other.last_nonce(ALICE)
