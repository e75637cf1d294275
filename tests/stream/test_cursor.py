"""A cursor is handed to strangers: what comes back is what was given, or an error."""

from __future__ import annotations

import json
import re
import zlib
from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millpond.stream.cursor import OFFSET_MAX, TEXT_CHARACTERS_MAX, Cursor, CursorUnreadable
from millpond.stream.record import Place

places = st.builds(Place, st.sampled_from(["agent.results.v1", "metering.usage.v1", "a.b.v1"]), st.integers(0, 40))
cursors = st.builds(Cursor, st.dictionaries(places, st.integers(0, OFFSET_MAX), max_size=30))


def packed(document: object) -> str:
    raw = document if isinstance(document, bytes) else json.dumps(document, separators=(",", ":")).encode()
    return urlsafe_b64encode(zlib.compress(raw, 9)).rstrip(b"=").decode()


@given(cursors)
def test_a_cursor_comes_back_as_it_was(cursor: Cursor) -> None:
    assert Cursor.decode(cursor.encode()) == cursor


@given(cursors)
def test_a_cursor_fits_into_a_url(cursor: Cursor) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor.encode())


def test_a_cursor_over_all_that_a_portal_follows_is_short() -> None:
    topics = [f"service{n}.dataset{n}.v1" for n in range(10)]
    cursor = Cursor({Place(topic, partition): 10**9 + partition for topic in topics for partition in range(12)})
    assert len(cursor.encode()) < 1_000


@given(cursors, cursors)
def test_covering_is_by_place(one: Cursor, other: Cursor) -> None:
    everywhere = set(one.offsets) | set(other.offsets)
    assert one.covers(other) == all(one.offsets.get(p, 0) >= other.offsets.get(p, 0) for p in everywhere)
    assert one.covers(one)
    assert one.covers(Cursor({}))


def test_not_having_read_a_place_is_being_at_its_start() -> None:
    assert Cursor({Place("a.b.v1", 0): 0}) == Cursor({})


@given(st.text(max_size=200))
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(CursorUnreadable, match="not a cursor"):
        Cursor.decode(text)


@given(cursors, st.data())
def test_a_cursor_that_was_changed_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    text = cursor.encode()
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("abAB01_-").filter(lambda letter: letter != text[at]))
    with pytest.raises(CursorUnreadable):
        Cursor.decode(text[:at] + letter + text[at + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "é",
        "A" * (TEXT_CHARACTERS_MAX + 1),
        packed([]),
        packed({"a.b.v1": [1]}),
        packed({"a.b.v1": {"0": -1}}),
        packed({"a.b.v1": {"0": 0}}),
        packed({"a.b.v1": {"0": True}}),
        packed({"a.b.v1": {"0": 1.5}}),
        packed({"a.b.v1": {"0": OFFSET_MAX + 1}}),
        packed({"a.b.v1": {"-1": 1}}),
        packed({"a.b.v1": {"٣": 1}}),
        packed({"a.b.v1": {"1" * 5_000: 1}}),
        packed(b'{"b.b.v1":{"0":1},"a.b.v1":{"0":1}}'),
        packed(b"[" * 60_000),
        packed(b'{"a":' + b" " * 10_000_000 + b"{}}"),
    ],
)
def test_what_was_made_up_is_refused(text: str) -> None:
    with pytest.raises(CursorUnreadable, match="not a cursor"):
        Cursor.decode(text)
