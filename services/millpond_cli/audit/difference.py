"""What an audit says when something doesn't come out: what was published, what comes out, and the events behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from millpond.errors import MillpondError
from millpond.stream.record import Place, Record

# A difference that thousands of records cause is named by the first of them.
SPOTS_MAX: Final = 24
SHOWN_CHARACTERS_MAX: Final = 300


class Spot(NamedTuple):
    """Where a record stands."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Difference(MillpondError):
    """{what}
    published  {published}
    comes out  {found}
    behind it  {behind}"""


def difference(what: str, *, published: object, found: object, behind: Iterator[Spot] | list[Spot]) -> Difference:
    spots = list(behind)
    more = f" and {len(spots) - SPOTS_MAX} more" if len(spots) > SPOTS_MAX else ""
    named = ", ".join(map(str, spots[:SPOTS_MAX])) + more
    return Difference(what=what, published=_shown(published), found=_shown(found), behind=named or "nothing")


def spot_of(record: Record) -> Spot:
    return Spot(record.topic, record.partition, record.offset)


def spot(place: Place, offset: int) -> Spot:
    return Spot(*place, offset)


class Field(NamedTuple):
    """The first field in which two JSON documents differ, with what each says."""

    path: str
    published: str
    found: str


def first_field(published: bytes, found: bytes) -> Field:
    """Raises nothing: what is no JSON differs as a whole."""
    try:
        return next(_fields("", json.loads(published), json.loads(found)))
    except (ValueError, StopIteration):
        return Field("the bytes", repr(published), repr(found))


def _fields(path: str, published: Any, found: Any) -> Iterator[Field]:
    if isinstance(published, dict) and isinstance(found, dict):
        for name in [*found, *(each for each in published if each not in found)]:
            beneath = f"{path}.{name}" if path else name
            yield from _fields(beneath, published.get(name, "nothing"), found.get(name, "nothing"))
    elif isinstance(published, list) and isinstance(found, list) and len(published) == len(found):
        for index, (one, other) in enumerate(zip(published, found, strict=True)):
            yield from _fields(f"{path}[{index}]", one, other)
    elif published != found or type(published) is not type(found):
        yield Field(path, json.dumps(published), json.dumps(found))


def _shown(value: object) -> str:
    # A record from elsewhere must not steer the terminal.
    text = "".join(character if character.isprintable() else "?" for character in str(value))
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}…"
