"""Money, times and bytes have one spelling each, and money keeps every digit."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from millpond.events.event import Event
from millpond.events.fields import (
    AMOUNT_DIGITS_MAX,
    Address,
    Amount,
    Base64,
    Hash32,
    Hex,
    Instant,
    SignedAmount,
    to_rfc3339,
)


class Paid(Event):
    amount: Amount
    change: SignedAmount = 0


class Seen(Event):
    at: Instant


LARGEST = 10**AMOUNT_DIGITS_MAX - 1


@given(amount=st.integers(0, LARGEST), change=st.integers(-LARGEST, LARGEST))
def test_money_survives_json_to_the_last_digit(amount: int, change: int) -> None:
    paid = Paid(amount=amount, change=change)
    assert json.loads(paid.to_bytes()) == {"amount": str(amount), "change": str(change)}
    assert Paid.model_validate_json(paid.to_bytes()) == paid


@pytest.mark.parametrize("amount", [2**53 + 1, 2**63, 2**63 + 1, 2**200])
def test_money_beyond_what_a_float_or_an_int64_holds(amount: int) -> None:
    assert Paid.model_validate_json(Paid(amount=amount).to_bytes()).amount == amount


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1.0",
        "1e5",
        '"1e5"',
        '"1.0"',
        '"01"',
        '"+1"',
        '"-1"',
        '"-0"',
        '" 1"',
        '"1 "',
        '"1\\n"',
        '"1_0"',
        '""',
        '"٣"',
        "true",
        "null",
        f'"1{"0" * AMOUNT_DIGITS_MAX}"',
    ],
)
def test_money_has_no_second_spelling_in_json(text: str) -> None:
    with pytest.raises(ValidationError):
        Paid.model_validate_json(f'{{"amount": {text}}}')


@pytest.mark.parametrize("text", ['"-0"', '"+1"', '"-01"', "-1", '"--1"', '"- 1"'])
def test_a_signed_amount_has_no_second_spelling_either(text: str) -> None:
    with pytest.raises(ValidationError):
        Paid.model_validate_json(f'{{"amount": "0", "change": {text}}}')


@pytest.mark.parametrize("amount", [True, 1.0, "1", None, -1, 10**AMOUNT_DIGITS_MAX])
def test_only_a_whole_number_is_money_in_python(amount: Any) -> None:
    with pytest.raises(ValidationError):
        Paid(amount=amount)


@given(ms=st.integers(0, 253_402_300_799_999))
def test_a_time_survives_json_to_the_millisecond(ms: int) -> None:
    seen = Seen(at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms))
    assert Seen.model_validate_json(seen.to_bytes()) == seen


def test_a_time_is_spelt_in_utc_with_three_decimals() -> None:
    at = datetime(2026, 1, 2, 4, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    assert Seen(at=at).to_bytes() == b'{"at":"2026-01-02T03:04:05.000Z"}'
    assert to_rfc3339(at) == "2026-01-02T03:04:05.000Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.6Z",
        "2026-01-02T03:04:05.678901Z",
        "2026-01-02T03:04:05.678+00:00",
        "2026-01-02 03:04:05.678Z",
        "2026-W01-5T03:04:05.678Z",
        "2026-13-02T03:04:05.678Z",
        "2026-01-02T03:04:05.678",
        "1767323045678",
    ],
)
def test_a_time_has_no_second_spelling(text: str) -> None:
    for value in (json.dumps(text), text):
        with pytest.raises(ValidationError):
            Seen.model_validate_json(f'{{"at": {value}}}')


def test_a_time_without_a_zone_or_with_more_than_milliseconds_is_refused() -> None:
    naive = datetime(2026, 1, 2)  # noqa: DTZ001 - that is the point
    for at in (naive, datetime(2026, 1, 2, microsecond=1, tzinfo=UTC)):
        with pytest.raises(ValidationError):
            Seen(at=at)


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (Address, "0x" + "aB" * 20, ["ab" * 20, "0x" + "ab" * 19, "0x" + "ab" * 21, "0x" + "zz" * 20, "", 5]),
        (Hash32, "0x" + "ab" * 32, ["0x" + "AB" * 32, "0x" + "ab" * 31, "ab" * 32, "0x" + "ab" * 32 + "\n"]),
        (Hex, "0x00ff", ["00ff", "0x0", "0xFF", "0x0g"]),
        (Base64, "AAE=", ["AAE", "AA=E", "A", "AA-_", "AAE=\n", "AA=="[:3]]),
    ],
)
def test_bytes_have_one_spelling(kind: Any, good: str, bad: list[Any]) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(good) == good
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)
