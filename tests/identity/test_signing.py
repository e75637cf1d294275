"""Operator actions: what is accepted, and that nothing else is.

The known vector is written by hand from EIP-712 (type strings, 32-byte words), not through ``typed_data``: both could
be wrong together.
"""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any, get_args

import pytest
from eth_account import Account
from eth_keys.backends import CoinCurveECCBackend, get_backend
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st

from millpond.identity import (
    ACTIONS,
    Action,
    ActionRefused,
    Domain,
    MalformedAction,
    MalformedSignature,
    NonceTooLow,
    ReadmitRecord,
    SignedAction,
    SignerNotAllowed,
    SkipRecord,
    UnknownAction,
    WrongSignature,
    check_nonce,
    sign_action,
    typed_data,
    verify_action,
)
from millpond.identity.actions import UINT256_MAX, struct_fields
from millpond.identity.signing import SECP256K1_N

KEY = bytes.fromhex("11" * 32)
OPERATOR = Account.from_key(KEY).address
OTHER_KEY = bytes.fromhex("22" * 32)
OTHER = Account.from_key(OTHER_KEY).address
OPERATORS = frozenset({OPERATOR, OTHER})
POND = Domain(pool="pond", chain_id=42161)

SKIP = SkipRecord(
    service="metering",
    topic="agent.results.v1",
    partition=3,
    offset=1042,
    content_hash="0x" + "ab" * 32,
    reason="Truncated by a broken agent; the contributor was told.",
    nonce=7,
)

KNOWN_DIGEST = "17a499bf3932cb6fbf85ef7d55b62329d6b8bcd52f8bb17c0cdc2d4c487fe8db"
KNOWN_SIGNATURE = (
    "0xb0da766d7d57f2ec02cab3cb005027950622844876bca7c85d585ce388e5b959"
    "314bd8d1ac2b8983b2e69356e2fe24893bb398587ad0b4dca8995e4bf22813f81c"
)

# Signing is pure Python and takes tens of milliseconds: a few examples of each field are enough.
few = settings(max_examples=15, deadline=None)

uint256 = st.integers(0, UINT256_MAX)
bytes32 = st.binary(min_size=32, max_size=32).map(lambda raw: "0x" + raw.hex())


VALUES = {
    "string": st.text(),
    "uint256": uint256,
    "bytes32": bytes32,
    "address": st.binary(min_size=20, max_size=20).map(to_checksum_address),
}


@st.composite
def actions(draw: st.DrawFn) -> Action:
    kind = draw(st.sampled_from(sorted(ACTIONS.values(), key=lambda kind: kind.__name__)))
    return kind(**{name: draw(VALUES[type_]) for name, type_ in struct_fields(kind).items()})


def verify(signed: SignedAction, domain: Domain = POND) -> Action:
    return verify_action(signed, domain=domain, signers=OPERATORS)


@pytest.fixture(scope="module")
def signed() -> SignedAction:
    return sign_action(SKIP, domain=POND, private_key=KEY)


def test_keys_are_used_in_c() -> None:
    """In Python it takes forty times as long, and the time tells of the key."""
    assert isinstance(get_backend(), CoinCurveECCBackend)


@few
@given(actions(), st.text(), uint256)
def test_what_an_operator_signed_is_what_the_service_reads(action: Action, pool: str, chain_id: int) -> None:
    domain = Domain(pool, chain_id)
    signed = sign_action(action, domain=domain, private_key=KEY)
    assert verify_action(signed, domain=domain, signers=frozenset({OPERATOR})) == action


def test_the_digest_is_the_one_that_eip_712_prescribes(signed: SignedAction) -> None:
    def word(number: int) -> bytes:
        return number.to_bytes(32, "big")

    domain = keccak(
        keccak(b"EIP712Domain(string name,string version,uint256 chainId,bytes32 salt)")
        + keccak(b"Millpond")
        + keccak(b"1")
        + word(42161)
        + keccak(b"pond")
    )
    struct = keccak(
        keccak(
            b"SkipRecord(string service,string topic,uint256 partition,uint256 offset,"
            b"bytes32 content_hash,string reason,uint256 nonce)"
        )
        + keccak(b"metering")
        + keccak(b"agent.results.v1")
        + word(3)
        + word(1042)
        + b"\xab" * 32
        + keccak(b"Truncated by a broken agent; the contributor was told.")
        + word(7)
    )
    digest = keccak(b"\x19\x01" + domain + struct)
    assert digest.hex() == KNOWN_DIGEST
    assert signed.signature == KNOWN_SIGNATURE
    assert Account._recover_hash(digest, signature=KNOWN_SIGNATURE) == OPERATOR


def test_the_document_for_a_wallet_is_json_without_numbers_that_javascript_rounds() -> None:
    document = typed_data(replace(SKIP, nonce=2**53 + 1), domain=POND)
    assert document["message"]["nonce"] == "9007199254740993"
    assert document["primaryType"] == "SkipRecord"


@few
@given(st.data())
def test_a_change_of_any_field_breaks_the_signature(data: st.DataObject) -> None:
    signed = sign_action(SKIP, domain=POND, private_key=KEY)
    name = data.draw(st.sampled_from([field.name for field in fields(SKIP)]))
    value: st.SearchStrategy[Any] = {
        "partition": uint256,
        "offset": uint256,
        "nonce": uint256,
        "content_hash": bytes32,
    }.get(name, st.text())
    changed = dict(signed.message) | {name: data.draw(value.filter(lambda v: v != signed.message[name]))}
    with pytest.raises(WrongSignature):
        verify(replace(signed, message=changed))


@pytest.mark.parametrize("domain", [Domain("pond2", 42161), Domain("pond", 1)], ids=str)
def test_a_signature_counts_in_one_pool_on_one_chain(signed: SignedAction, domain: Domain) -> None:
    with pytest.raises(WrongSignature):
        verify(signed, domain)


def test_a_permission_to_skip_is_none_to_readmit(signed: SignedAction) -> None:
    with pytest.raises(WrongSignature):
        verify(replace(signed, action="ReadmitRecord"))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 64), st.integers(1, 255))
def test_a_change_of_any_signature_byte_is_refused(place: int, flip: int) -> None:
    signed = sign_action(SKIP, domain=POND, private_key=KEY)
    raw = bytearray.fromhex(signed.signature[2:])
    raw[place] ^= flip
    with pytest.raises((WrongSignature, MalformedSignature)):
        verify(replace(signed, signature="0x" + raw.hex()))


def test_the_other_half_of_the_curve_gives_no_second_signature(signed: SignedAction) -> None:
    raw = bytes.fromhex(signed.signature[2:])
    twin = raw[:32] + (SECP256K1_N - int.from_bytes(raw[32:64], "big")).to_bytes(32, "big") + bytes([55 - raw[64]])
    with pytest.raises(MalformedSignature, match="upper half"):
        verify(replace(signed, signature="0x" + twin.hex()))


@pytest.mark.parametrize(
    "spell",
    [
        lambda good: good[:-2],
        lambda good: good + "00",
        lambda good: good[2:],
        lambda good: "0x" + good[2:].upper(),
        lambda good: good + "\n",
        lambda good: good[:-2] + f"{int(good[-2:], 16) - 27:02x}",
    ],
    ids=["64 bytes", "66 bytes", "no 0x", "upper case", "a newline", "v of 0 or 1"],
)
def test_a_signature_has_one_spelling(signed: SignedAction, spell: Any) -> None:
    with pytest.raises(MalformedSignature):
        verify(replace(signed, signature=spell(signed.signature)))


@pytest.mark.parametrize("part", [slice(0, 32), slice(32, 64)], ids=["r", "s"])
def test_a_signature_of_nothing_is_nobodys(signed: SignedAction, part: slice) -> None:
    raw = bytearray.fromhex(signed.signature[2:])
    raw[part] = bytes(32)
    with pytest.raises(WrongSignature, match="nobody"):
        verify(replace(signed, signature="0x" + raw.hex()))


def test_an_operator_cannot_sign_for_another(signed: SignedAction) -> None:
    with pytest.raises(WrongSignature, match=f"is by {OPERATOR}, and signer is {OTHER}"):
        verify(replace(signed, signer=OTHER))


def test_who_is_no_operator_gives_no_orders() -> None:
    stranger = sign_action(SKIP, domain=POND, private_key=bytes.fromhex("33" * 32))
    with pytest.raises(SignerNotAllowed, match=stranger.signer):
        verify(stranger)


@pytest.mark.parametrize("spell", [str.lower, str.upper, lambda s: s[:-1], lambda s: ""])
def test_a_signer_is_spelt_with_its_checksum(signed: SignedAction, spell: Any) -> None:
    with pytest.raises(MalformedAction, match="signer of SkipRecord"):
        verify(replace(signed, signer=spell(signed.signer)))


def test_an_action_of_another_version_names_those_that_are_known(signed: SignedAction) -> None:
    with pytest.raises(UnknownAction, match=r"'DrainPool'.*SkipRecord, ReadmitRecord"):
        verify(replace(signed, action="DrainPool"))


BAD_VALUES = [
    ("partition", "3"),
    ("partition", True),
    ("partition", 3.0),
    ("offset", -1),
    ("offset", UINT256_MAX + 1),
    ("offset", 10**5000),
    ("nonce", None),
    ("content_hash", "0x" + "AB" * 32),
    ("content_hash", "ab" * 32),
    ("content_hash", "0x" + "ab" * 31),
    ("content_hash", "0x" + "ab" * 32 + "\n"),
    ("reason", 5),
    ("reason", "\ud800"),
]


@pytest.mark.parametrize(
    ("field", "value"), BAD_VALUES, ids=[f"{field}-{place}" for place, (field, _) in enumerate(BAD_VALUES)]
)
def test_a_field_of_the_wrong_type_is_named(signed: SignedAction, field: str, value: Any) -> None:
    with pytest.raises(MalformedAction, match=f"{field} of SkipRecord") as refused:
        verify(replace(signed, message=dict(signed.message) | {field: value}))
    assert len(str(refused.value)) < 400
    with pytest.raises(MalformedAction, match=f"{field} of SkipRecord"):
        sign_action(replace(SKIP, **{field: value}), domain=POND, private_key=KEY)


@pytest.mark.parametrize("field", [field.name for field in fields(SKIP)])
def test_a_missing_field_is_named(signed: SignedAction, field: str) -> None:
    message = {name: value for name, value in signed.message.items() if name != field}
    with pytest.raises(MalformedAction, match=f"{field} of SkipRecord is missing"):
        verify(replace(signed, message=message))


def test_an_extra_field_is_named_since_nobody_signed_it(signed: SignedAction) -> None:
    with pytest.raises(MalformedAction, match=r"'amount'.*no such field"):
        verify(replace(signed, message=dict(signed.message) | {"amount": 1}))


def test_a_stranger_cannot_fill_the_log(signed: SignedAction) -> None:
    for forged in (replace(signed, action="x" * 10**6), replace(signed, signature="x" * 10**6)):
        with pytest.raises(ActionRefused) as refused:
            verify(forged)
        assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(("last", "nonce"), [(None, 0), (0, 1), (7, 10**18)])
def test_a_higher_nonce_is_new(last: int | None, nonce: int) -> None:
    check_nonce(last, nonce)


@pytest.mark.parametrize(("last", "nonce"), [(0, 0), (7, 7), (7, 6)])
def test_a_nonce_counts_once(last: int, nonce: int) -> None:
    with pytest.raises(NonceTooLow, match=f"above {last}"):
        check_nonce(last, nonce)


def test_every_action_has_a_nonce_and_a_name_of_its_own() -> None:
    assert len(ACTIONS) == len(get_args(Action))
    for kind in ACTIONS.values():
        assert "nonce" in {field.name for field in fields(kind)}


def test_skipping_and_readmitting_name_a_record_in_the_same_words() -> None:
    assert asdict(ReadmitRecord(**asdict(SKIP))) == asdict(SKIP)
