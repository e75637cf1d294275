"""A mapping that is changed by making another: 10,000 devices must not be copied for one heartbeat."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Row = TypeVar("Row")

# A change copies one shelf and the list of shelves: with 10,000 rows 40 and 256 entries.
SHELVES = 256


@dataclass(frozen=True, slots=True)
class Table(Generic[Row]):
    """Rows by key. Rows must be frozen: what is in two tables is the same object."""

    _shelves: tuple[dict[str, Row], ...] = field(default_factory=lambda: ({},) * SHELVES)

    @classmethod
    def of(cls, rows: Iterable[tuple[str, Row]]) -> Table[Row]:
        shelves: list[dict[str, Row]] = [{} for _ in range(SHELVES)]
        for key, row in rows:
            shelves[_shelf(key)][key] = row
        return cls(tuple(shelves))

    def get(self, key: str) -> Row | None:
        return self._shelves[_shelf(key)].get(key)

    def put(self, key: str, row: Row) -> Table[Row]:
        number = _shelf(key)
        return self._with(number, {**self._shelves[number], key: row})

    def items(self) -> Iterator[tuple[str, Row]]:
        """In no order that means anything: sort what is to be published."""
        for shelf in self._shelves:
            yield from shelf.items()

    def __len__(self) -> int:
        return sum(map(len, self._shelves))

    def changed_since(self, before: Table[Row]) -> list[tuple[str, Row]]:
        """The rows that are new or other than before, without a look at the shelves that are the same."""
        return [
            (key, row)
            for old, new in zip(before._shelves, self._shelves, strict=True)
            if old is not new
            for key, row in new.items()
            if old.get(key) is not row
        ]

    def _with(self, number: int, shelf: dict[str, Row]) -> Table[Row]:
        return Table((*self._shelves[:number], shelf, *self._shelves[number + 1 :]))


def _shelf(key: str) -> int:
    # Not hash(): it differs from process to process, and the same events must give the same order everywhere.
    return zlib.crc32(key.encode()) % SHELVES
