"""Many rows in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg


async def insert_rows(
    connection: asyncpg.Connection, table: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]
) -> None:
    """Inserts the rows, in their order. ``columns``: their types by name, as PostgreSQL calls them.

    Not by COPY: no time limit ends a session that waits for a COPY's data, so that a process that was frozen just then
    would keep its locks for as long as it is frozen.
    """
    if not rows:
        return
    names = ", ".join(columns)
    arrays = ", ".join(f"${n}::{_element(type_)}[]" for n, type_ in enumerate(columns.values(), 1))
    values = ", ".join(f"{name}::{type_}" for name, type_ in columns.items())
    lists = [
        [_literal(value) for value in column] if type_.endswith("[]") else column
        for type_, column in zip(columns.values(), zip(*rows, strict=True), strict=True)
    ]
    await connection.execute(
        f"INSERT INTO {table} ({names}) SELECT {values} FROM unnest({arrays}) WITH ORDINALITY AS r({names}, ordinal)"  # noqa: S608
        " ORDER BY ordinal",
        *lists,
    )


def _element(type_: str) -> str:
    # An array of arrays would be unnested to the bottom.
    return "text" if type_.endswith("[]") else type_


def _literal(values: Sequence[str]) -> str:
    """A text array as PostgreSQL writes it."""
    quoted = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in quoted) + "}"
