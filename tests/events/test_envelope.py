"""CloudEvents 1.0, binary mode."""

from __future__ import annotations

import pytest

from millpond.events.envelope import Envelope, EnvelopeUnreadable, decode, encode

ENVELOPE = Envelope(id="rewards/7", type="PayoutOrdered", source="/millpond/rewards", time="2026-01-02T03:04:05.678Z")
TRACED = Envelope(
    id="rewards/7",
    type="PayoutOrdered",
    source="/millpond/rewards",
    time="2026-01-02T03:04:05.678Z",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)


@pytest.mark.parametrize("envelope", [ENVELOPE, TRACED])
def test_what_is_written_is_read_back_among_other_headers(envelope: Envelope) -> None:
    headers = encode(envelope)
    assert decode([("outbox", b"rewards 7 6"), *headers, ("read", None)]) == envelope


def test_the_headers_are_those_of_the_specification() -> None:
    assert encode(ENVELOPE) == (
        ("ce_specversion", b"1.0"),
        ("ce_type", b"PayoutOrdered"),
        ("ce_source", b"/millpond/rewards"),
        ("ce_id", b"rewards/7"),
        ("ce_time", b"2026-01-02T03:04:05.678Z"),
        ("content-type", b"application/json"),
    )


@pytest.mark.parametrize("name", ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"])
@pytest.mark.parametrize("value", [None, b"", b"\xff", "absent"])
def test_a_header_that_is_missing_empty_null_or_not_utf8_is_named(name: str, value: bytes | str | None) -> None:
    headers = [(found, text) for found, text in encode(ENVELOPE) if found != name]
    changed = [(name, value)] if not isinstance(value, str) else []
    with pytest.raises(EnvelopeUnreadable, match=name):
        decode([*headers, *changed])


@pytest.mark.parametrize(("name", "value"), [("ce_specversion", b"0.3"), ("content-type", b"text/plain")])
def test_another_version_or_another_content_is_not_guessed(name: str, value: bytes) -> None:
    with pytest.raises(EnvelopeUnreadable, match=name):
        decode([(name, value), *encode(ENVELOPE)])


def test_of_two_headers_with_one_name_the_first_counts() -> None:
    assert decode([*encode(ENVELOPE), ("ce_type", b"PayoutForged")]) == ENVELOPE
