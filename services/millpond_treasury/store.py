"""The rules' state in PostgreSQL: loaded whole on taking over; then what has changed is written, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar

import asyncpg
from pydantic import TypeAdapter

from millpond_treasury.rules.state import (
    ClosedEpoch,
    Reconciliation,
    SlotOnItsWay,
    State,
    Waiting,
    Withdrawal,
    WithdrawalOnItsWay,
)

Row = TypeVar("Row")


@dataclass(frozen=True)
class _Book:
    """What changes together and is small: one row."""

    next_slot: int
    earned: Mapping[str, int]
    receipt_keys: Mapping[int, str]
    reconciliation: Reconciliation | None
    command_nonces: Mapping[str, int]
    account_nonce: int
    withdrawals: tuple[Withdrawal, ...]
    withdrawal: WithdrawalOnItsWay | None
    slot: SlotOnItsWay | None
    float_asked: bool
    look_ms: int | None
    foreign_slot: int | None
    stopped: bool

    @classmethod
    def of(cls, state: State) -> _Book:
        return cls(
            state.next_slot,
            state.earned,
            state.receipt_keys,
            state.reconciliation,
            state.command_nonces,
            state.account_nonce,
            state.withdrawals,
            state.withdrawal,
            state.slot,
            state.float_asked,
            state.look_ms,
            state.foreign_slot,
            state.stopped,
        )


_BOOK: Final = TypeAdapter(_Book)
_WAITING: Final = TypeAdapter(Waiting)
_CLOSED: Final = TypeAdapter(ClosedEpoch)


class TreasuryStore:
    schema = (files("millpond_treasury") / "schema.sql").read_text()

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> State:
        assert keys is None, "treasury is single-active: it loads everything"
        body = await connection.fetchval("SELECT body FROM book WHERE name = 'treasury'")
        book = _Book.of(State()) if body is None else _BOOK.validate_json(body)
        waiting = await connection.fetch("SELECT payout, body FROM waiting")
        committed = await connection.fetch("SELECT recipient, amount FROM committed")
        closed = await connection.fetch("SELECT epoch, body FROM closed")
        return State(
            next_slot=book.next_slot,
            waiting={payout: _WAITING.validate_json(text) for payout, text in waiting},
            planned=frozenset([payout for (payout,) in await connection.fetch("SELECT payout FROM planned")]),
            committed={recipient: int(amount) for recipient, amount in committed},
            closed={epoch: _CLOSED.validate_json(text) for epoch, text in closed},
            roots=dict(await connection.fetch("SELECT epoch, root FROM roots")),
            earned=book.earned,
            receipt_keys=book.receipt_keys,
            reconciliation=book.reconciliation,
            command_nonces=book.command_nonces,
            account_nonce=book.account_nonce,
            withdrawals=book.withdrawals,
            withdrawal=book.withdrawal,
            slot=book.slot,
            float_asked=book.float_asked,
            look_ms=book.look_ms,
            foreign_slot=book.foreign_slot,
            stopped=book.stopped,
        )

    async def save(self, connection: asyncpg.Connection, before: State, after: State) -> None:
        if _Book.of(before) != (book := _Book.of(after)):
            await connection.execute(
                "INSERT INTO book VALUES ('treasury', $1) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                _BOOK.dump_json(book).decode(),
            )
        await _save_rows(connection, "waiting", "payout", _WAITING, before.waiting, after.waiting)
        await _save_rows(connection, "closed", "epoch", _CLOSED, before.closed, after.closed)
        if after.planned is not before.planned:
            new = [(payout,) for payout in after.planned - before.planned]
            await connection.executemany("INSERT INTO planned VALUES ($1)", new)
        await connection.executemany(
            "INSERT INTO committed VALUES ($1, $2) ON CONFLICT (recipient) DO UPDATE SET amount = excluded.amount",
            _changed(before.committed, after.committed),
        )
        await connection.executemany("INSERT INTO roots VALUES ($1, $2)", _changed(before.roots, after.roots))


def _changed(before: Mapping[Any, Row], after: Mapping[Any, Row]) -> list[tuple[Any, Row]]:
    if before is after:
        return []
    return [(key, row) for key, row in after.items() if row is not before.get(key) and row != before.get(key)]


async def _save_rows(
    connection: asyncpg.Connection,
    table: str,
    column: str,
    adapter: TypeAdapter[Row],
    before: Mapping[Any, Row],
    after: Mapping[Any, Row],
) -> None:
    """Of a table with a key and a body; its names are constants of this file."""
    gone = [(key,) for key in before.keys() - after.keys()]
    await connection.executemany(f"DELETE FROM {table} WHERE {column} = $1", gone)  # noqa: S608
    await connection.executemany(
        f"INSERT INTO {table} VALUES ($1, $2) ON CONFLICT ({column}) DO UPDATE SET body = excluded.body",  # noqa: S608
        [(key, adapter.dump_json(row).decode()) for key, row in _changed(before, after)],
    )
