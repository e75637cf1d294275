"""From a record of ``metering.usage.v1`` to what it counts; and the quick way, for whoever folds a month of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NotRequired, TypedDict

from pydantic import TypeAdapter

from millpond.events.metering_usage import UsageHeld, UsageLine, UsageRecorded
from millpond_rewards.rules.weights import BELIEVED, LineFold, WorkKey


def key_of(line: UsageLine) -> WorkKey:
    """A reason is never empty, so a held line never counts as believed."""
    reason = line.reason if isinstance(line, UsageHeld) else BELIEVED
    return WorkKey(line.contributor, line.price.wei, line.price.per_units, reason)


class _Price(TypedDict):
    wei: str
    per_units: int


class _Weighed(TypedDict):
    contributor: str
    quantity: int
    price: _Price
    reason: NotRequired[str]


# Of a line that has been read before, or whose epoch is closed: its form was checked by whoever decided on it first.
_QUICKLY: Final = TypeAdapter(_Weighed).validator.validate_json


def fold_lines(fold: LineFold, lines: Iterable[tuple[str, bytes]]) -> None:
    """Adds (event type, value) of lines in the order of their partition, several times as fast as by their models.

    What a model would refuse is not all found: for an audit, whose hashes say whether these are the bytes that counted.
    """
    held = UsageHeld.type_name
    for kind, value in lines:
        found = _QUICKLY(value)
        price = found["price"]
        reason = found.get("reason", BELIEVED) if kind == held else BELIEVED
        fold.add(WorkKey(found["contributor"], int(price["wei"]), price["per_units"], reason), found["quantity"], value)


LINES: Final = (UsageRecorded, UsageHeld)
