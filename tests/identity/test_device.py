"""A device's key: who signed, for which pool, as what kind of claim; and the file it lies in."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.identity import (
    DeviceKey,
    DeviceKeyExposed,
    DeviceKeyUnreadable,
    load_or_make_device_key,
    verify_device,
)

KEY = DeviceKey(bytes(32))
CLAIM = {"pool": "pond", "kind": "Heartbeat", "text": '{"sequence":1}'}


@given(st.binary(min_size=32, max_size=32), st.text(), st.text())
def test_what_a_device_signed_verifies(seed: bytes, kind: str, text: str) -> None:
    kind, text = kind.encode(errors="replace").decode(), text.encode(errors="replace").decode()
    key = DeviceKey(seed)
    signature = key.sign(pool="pond", kind=kind, text=text)
    assert verify_device(pool="pond", kind=kind, text=text, device=key.device, signature=signature)


@pytest.mark.parametrize("changed", [{"pool": "lake"}, {"kind": "JobSucceeded"}, {"text": '{"sequence":2}'}])
def test_a_signature_counts_for_one_pool_one_kind_and_one_text(changed: dict[str, str]) -> None:
    signature = KEY.sign(**CLAIM)
    assert verify_device(**CLAIM, device=KEY.device, signature=signature)
    assert not verify_device(**(CLAIM | changed), device=KEY.device, signature=signature)


def test_another_device_has_not_signed_it() -> None:
    other = DeviceKey(bytes([1]) * 32)
    assert not verify_device(**CLAIM, device=other.device, signature=KEY.sign(**CLAIM))


@pytest.mark.parametrize("spell", [str.upper, lambda text: text[2:], lambda text: text + "00", lambda text: ""])
def test_device_and_signature_have_one_spelling(spell: object) -> None:
    signature = KEY.sign(**CLAIM)
    assert not verify_device(**CLAIM, device=spell(KEY.device), signature=signature)  # type: ignore[operator]
    assert not verify_device(**CLAIM, device=KEY.device, signature=spell(signature))  # type: ignore[operator]


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "device.key"
    made = load_or_make_device_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_make_device_key(path).device == made.device
    assert list(path.parent.iterdir()) == [path]


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "device.key"
    load_or_make_device_key(path)
    path.chmod(0o640)
    with pytest.raises(DeviceKeyExposed, match="chmod 600"):
        load_or_make_device_key(path)


@pytest.mark.parametrize("content", ["", "ab", "z" * 64, "A" * 64, "0" * 128])
def test_what_is_no_key_is_refused_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    path = tmp_path / "device.key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(DeviceKeyUnreadable):
        load_or_make_device_key(path)
    assert path.read_text() == content


def test_a_key_prints_as_its_public_half() -> None:
    assert repr(KEY) == f"DeviceKey({KEY.device})"
    assert bytes(32).hex() not in repr(KEY)
