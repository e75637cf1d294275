"""What a record is hashed and numbered by."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from millpond.stream.record import FILLER, OUTBOX, OutboxNumber, Place, Record, content_hash, record_hash

parts = st.one_of(st.none(), st.binary(max_size=12))
RECORD = Record("a.b.v1", 3, 7, b"k", b"v", ((OUTBOX, b"edge 2 1"), ("ce_id", b"1")), 5)


@given(parts, parts, parts, parts)
def test_no_two_different_contents_have_one_hash(
    key: bytes | None, value: bytes | None, other_key: bytes | None, other_value: bytes | None
) -> None:
    same = (key, value) == (other_key, other_value)
    assert (content_hash(key, value) == content_hash(other_key, other_value)) == same


@given(st.binary(max_size=20), st.integers(0, 20), st.integers(0, 20))
def test_moving_bytes_from_key_to_value_changes_the_hash(content: bytes, cut: int, other_cut: int) -> None:
    cut, other_cut = min(cut, len(content)), min(other_cut, len(content))
    assume(cut != other_cut)
    assert content_hash(content[:cut], content[cut:]) != content_hash(content[:other_cut], content[other_cut:])


def test_null_is_not_empty() -> None:
    hashes = {content_hash(key, value) for key in (None, b"") for value in (None, b"")}
    assert len(hashes) == 4


def test_the_content_hash_is_what_the_readme_says_byte_by_byte() -> None:
    # An operator's command names it, and other programs may compute it: it never changes.
    preimage = bytes.fromhex("0000000000000001") + b"k" + bytes.fromhex("ffffffffffffffff")
    assert content_hash(b"k", None) == hashlib.sha256(preimage).digest()


def test_the_record_hash_covers_offset_key_value_and_number() -> None:
    changed = [
        RECORD._replace(offset=8),
        RECORD._replace(key=b"l"),
        RECORD._replace(key=None),
        RECORD._replace(value=b"w"),
        RECORD._replace(value=None),
        RECORD._replace(headers=((OUTBOX, b"edge 3 1"),)),
        RECORD._replace(headers=()),
    ]
    assert len({record_hash(record) for record in (RECORD, *changed)}) == 1 + len(changed)


def test_the_record_hash_leaves_out_what_a_repeat_may_change() -> None:
    traced = RECORD._replace(headers=(*RECORD.headers, ("traceparent", b"00")), timestamp_ms=6)
    assert record_hash(traced) == record_hash(RECORD)


@given(st.from_regex(r"[a-z_-]{1,20}", fullmatch=True), st.integers(1, 2**63), st.data())
def test_a_number_comes_back_from_its_header(source: str, number: int, data: st.DataObject) -> None:
    outbox = OutboxNumber(source, number, data.draw(st.integers(0, number - 1)))
    assert OutboxNumber.from_header(outbox.to_header()) == outbox


@pytest.mark.parametrize(
    "header",
    [b"", b"edge", b"edge 1", b"edge 1 1", b"edge 1 2", b"edge 0 0", b"edge 1 -1", b" 1 0", b"edge 1 0 0", b"edge x 0"],
)
def test_what_is_no_number_is_refused(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (int() says it in many ways)
        OutboxNumber.from_header(header)


@given(st.binary(max_size=30))
def test_any_bytes_are_a_number_or_refused(header: bytes) -> None:
    try:
        outbox = OutboxNumber.from_header(header)
    except ValueError:
        return
    assert 0 <= outbox.previous < outbox.number


def test_of_two_headers_with_one_name_the_first_counts() -> None:
    record = RECORD._replace(headers=(("a", b"1"), ("a", b"2"), ("null", None)))
    assert (record.header("a"), record.header("null"), record.header("none")) == (b"1", None, None)


def test_a_filler_is_known_by_its_header() -> None:
    assert RECORD._replace(headers=((FILLER, b""),)).is_filler
    assert not RECORD.is_filler


def test_a_place_reads_like_kafkas_own() -> None:
    assert str(RECORD.place) == str(Place("a.b.v1", 3)) == "a.b.v1[3]"
