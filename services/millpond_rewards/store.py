"""The rules' state in PostgreSQL: loaded whole on taking over; then what has changed is written, row by row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, TypeVar

import asyncpg
from pydantic import TypeAdapter

from millpond.events.rewards_epochs import EpochClosing
from millpond.events.rewards_payouts import StatementProof
from millpond.money import Account as LedgerAccount
from millpond.money import Ledger
from millpond.proofs.merkle import TreeBuilder
from millpond.stream import Place
from millpond.terms import Terms, canonical
from millpond_rewards.rules.close import Opening
from millpond_rewards.rules.cut import PlaceTally
from millpond_rewards.rules.pots import Carried
from millpond_rewards.rules.state import (
    Account,
    Asked,
    Offer,
    Payout,
    Phase,
    Reconciliation,
    Said,
    Slot,
    State,
    Window,
)
from millpond_rewards.rules.statements import Share
from millpond_rewards.rules.weights import Count, LineFold, Work, WorkKey

# Where the work stands that earlier epochs had no income for; the open epoch's stands under its partition.
CARRIED_WORK: Final = -1

Key = TypeVar("Key")
Row = TypeVar("Row")


@dataclass(frozen=True)
class _Book:
    """What changes together and is small: one row."""

    epoch: int
    previous_root: str
    carried: Mapping[str, Carried]
    phase: Phase
    asked: tuple[Asked, ...]
    closing: EpochClosing | None
    watermarks: frozenset[tuple[int, int]]
    began_ms: int | None
    said: frozenset[Said]
    nonces: Mapping[str, int]
    leaving: frozenset[str]
    reconciliation: Reconciliation | None
    income: Mapping[str, int]
    windows: tuple[Window, ...]
    conflict: str | None

    @classmethod
    def of(cls, state: State) -> _Book:
        opening = state.opening
        return cls(
            opening.epoch,
            opening.previous_root,
            opening.carried,
            state.phase,
            state.asked,
            state.closing,
            state.watermarks,
            state.began_ms,
            state.said,
            state.nonces,
            state.leaving,
            state.reconciliation,
            state.income,
            state.windows,
            state.conflict,
        )


_BOOK: Final = TypeAdapter(_Book)
_NUMBERS: Final = TypeAdapter(dict[str, int])
_UNPAID: Final = TypeAdapter(dict[int, int])
_PROOFS: Final = TypeAdapter(tuple[StatementProof, ...])
_PAYOUT: Final = TypeAdapter(Payout)
_SLOT: Final = TypeAdapter(Slot)


class RewardsStore:
    schema = (files("millpond_rewards") / "schema.sql").read_text()

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> State:
        assert keys is None, "rewards is single-active: it loads everything"
        body = await connection.fetchval("SELECT body FROM book WHERE name = 'epoch'")
        book = _Book.of(State()) if body is None else _BOOK.validate_json(body)
        work = await _load_work(connection)
        accounts, cumulative = await _load_accounts(connection)
        return State(
            opening=Opening(
                book.epoch, book.previous_root, book.carried, work.get(CARRIED_WORK, LineFold()).work, cumulative
            ),
            phase=book.phase,
            asked=book.asked,
            closing=book.closing,
            watermarks=book.watermarks,
            began_ms=book.began_ms,
            said=book.said,
            nonces=book.nonces,
            offers=await _load_offers(connection),
            leaving=book.leaving,
            reconciliation=book.reconciliation,
            tallies={**State().tallies, **await _load_places(connection)},
            lines=tuple(work.get(partition, LineFold()) for partition in range(len(State().lines))),
            income=book.income,
            tickets=frozenset([ticket for (ticket,) in await connection.fetch("SELECT ticket FROM tickets")]),
            windows=book.windows,
            accounts=accounts,
            payouts={
                name: _PAYOUT.validate_json(text)
                for name, text in await connection.fetch("SELECT payout, body FROM payouts")
            },
            slots={
                slot: _SLOT.validate_json(text) for slot, text in await connection.fetch("SELECT slot, body FROM slots")
            },
            conflict=book.conflict,
            ledger=await _load_ledger(connection),
        )

    async def save(self, connection: asyncpg.Connection, before: State, after: State) -> None:
        if _Book.of(before) != (book := _Book.of(after)):
            await connection.execute(
                "INSERT INTO book VALUES ('epoch', $1) ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                _BOOK.dump_json(book).decode(),
            )
        await _save_places(connection, before, after)
        for partition, (old, new) in enumerate(zip(before.lines, after.lines, strict=True)):
            if new is not old:
                await _save_work(connection, partition, old, new)
        if after.opening.work is not before.opening.work:
            await _save_work(connection, CARRIED_WORK, LineFold(before.opening.work), LineFold(after.opening.work))
        await _save_accounts(connection, before, after)
        await _save_rows(connection, "payouts", "payout", _PAYOUT, before.payouts, after.payouts)
        await _save_rows(connection, "slots", "slot", _SLOT, before.slots, after.slots)
        await _save_known_for_ever(connection, before, after)
        await _save_ledger(connection, before.ledger, after.ledger)


def _changed(before: Mapping[Key, Row], after: Mapping[Key, Row]) -> list[tuple[Key, Row]]:
    if before is after:
        return []
    return [(key, row) for key, row in after.items() if row is not before.get(key) and row != before.get(key)]


async def _load_work(connection: asyncpg.Connection) -> dict[int, LineFold]:
    """By partition, and under CARRIED_WORK."""
    trees = {
        partition: TreeBuilder(size, [peaks[n : n + 32] for n in range(0, len(peaks), 32)])
        for partition, size, peaks in await connection.fetch("SELECT partition, size, peaks FROM line_trees")
    }
    work: dict[int, dict[WorkKey, Count]] = {partition: {} for partition in trees}
    rows = await connection.fetch("SELECT partition, contributor, wei, per_units, reason, lines, units FROM work")
    for partition, contributor, wei, per_units, reason, lines, units in rows:
        key = WorkKey(contributor, int(wei), int(per_units), reason)
        work.setdefault(partition, {})[key] = Count(lines, int(units))
    return {partition: LineFold(each, trees.get(partition)) for partition, each in work.items()}


async def _save_work(connection: asyncpg.Connection, partition: int, old: LineFold, new: LineFold) -> None:
    known: Work = old.work
    if known.keys() - new.work.keys():
        # The epoch was closed: what counts now begins anew.
        await connection.execute("DELETE FROM work WHERE partition = $1", partition)
        known = {}
    await connection.executemany(
        """
        INSERT INTO work VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (partition, contributor, wei, per_units, reason)
        DO UPDATE SET lines = excluded.lines, units = excluded.units
        """,
        [(partition, *key, *count) for key, count in _changed(known, new.work)],
    )
    await connection.execute(
        """
        INSERT INTO line_trees VALUES ($1, $2, $3)
        ON CONFLICT (partition) DO UPDATE SET size = excluded.size, peaks = excluded.peaks
        """,
        partition,
        new.tree.size,
        b"".join(new.tree.peaks),
    )


async def _load_places(connection: asyncpg.Connection) -> dict[Place, PlaceTally]:
    rows = await connection.fetch(
        "SELECT topic, partition, start_offset, next_offset, records, records_hash, numbers FROM places"
    )
    return {
        Place(topic, partition): PlaceTally(start, next_offset, records, hash_, _NUMBERS.validate_json(numbers))
        for topic, partition, start, next_offset, records, hash_, numbers in rows
    }


async def _save_places(connection: asyncpg.Connection, before: State, after: State) -> None:
    await connection.executemany(
        """
        INSERT INTO places VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (topic, partition) DO UPDATE SET start_offset = excluded.start_offset,
            next_offset = excluded.next_offset, records = excluded.records,
            records_hash = excluded.records_hash, numbers = excluded.numbers
        """,
        [
            (
                *place,
                tally.start,
                tally.next_offset,
                tally.records,
                tally.records_hash,
                _NUMBERS.dump_json(dict(tally.numbers)).decode(),
            )
            for place, tally in _changed(before.tallies, after.tallies)
        ],
    )


async def _load_accounts(connection: asyncpg.Connection) -> tuple[dict[Share, Account], dict[Share, int]]:
    accounts, cumulative = {}, {}
    rows = await connection.fetch("SELECT contributor, asset, cumulative, ordered, unpaid, proofs FROM accounts")
    for contributor, asset, total, ordered, unpaid, proofs in rows:
        share = Share(contributor, asset)
        accounts[share] = Account(_UNPAID.validate_json(unpaid), int(ordered), _PROOFS.validate_json(proofs))
        cumulative[share] = int(total)
    return accounts, cumulative


async def _save_accounts(connection: asyncpg.Connection, before: State, after: State) -> None:
    cumulative = after.opening.cumulative
    await connection.executemany(
        """
        INSERT INTO accounts VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (contributor, asset) DO UPDATE SET cumulative = excluded.cumulative,
            ordered = excluded.ordered, unpaid = excluded.unpaid, proofs = excluded.proofs
        """,
        [
            (
                *share,
                cumulative[share],
                account.ordered,
                _UNPAID.dump_json(dict(account.unpaid)).decode(),
                _PROOFS.dump_json(account.proofs).decode(),
            )
            for share, account in _changed(before.accounts, after.accounts)
        ],
    )


async def _save_rows(
    connection: asyncpg.Connection,
    table: str,
    column: str,
    adapter: TypeAdapter[Row],
    before: Mapping[Any, Row],
    after: Mapping[Any, Row],
) -> None:
    """Of a table with a key and a body; its names are constants of this file."""
    gone: Iterable[Any] = before.keys() - after.keys()
    await connection.executemany(f"DELETE FROM {table} WHERE {column} = $1", [(key,) for key in gone])  # noqa: S608
    await connection.executemany(
        f"INSERT INTO {table} VALUES ($1, $2) ON CONFLICT ({column}) DO UPDATE SET body = excluded.body",  # noqa: S608
        [(key, adapter.dump_json(row).decode()) for key, row in _changed(before, after)],
    )


async def _load_offers(connection: asyncpg.Connection) -> tuple[Offer, ...]:
    rows = await connection.fetch(
        "SELECT record_offset, version, effective_from_epoch, terms_hash, document FROM offers ORDER BY record_offset"
    )
    return tuple(
        Offer(offset, version, epoch, hash_, Terms.model_validate_json(document))
        for offset, version, epoch, hash_, document in rows
    )


async def _save_known_for_ever(connection: asyncpg.Connection, before: State, after: State) -> None:
    if after.tickets is not before.tickets:
        new = [(ticket,) for ticket in after.tickets - before.tickets]
        await connection.executemany("INSERT INTO tickets VALUES ($1)", new)
    await connection.executemany(
        "INSERT INTO offers VALUES ($1, $2, $3, $4, $5)",
        [
            (each.offset, each.version, each.effective_from_epoch, each.terms_hash, canonical(each.terms))
            for each in after.offers[len(before.offers) :]
        ],
    )


async def _load_ledger(connection: asyncpg.Connection) -> Ledger:
    rows = await connection.fetch("SELECT asset, account, amount FROM balances")
    return Ledger({(asset, LedgerAccount(account)): int(amount) for asset, account, amount in rows})


async def _save_ledger(connection: asyncpg.Connection, before: Ledger, after: Ledger) -> None:
    await connection.executemany(
        "INSERT INTO balances VALUES ($1, $2, $3) ON CONFLICT (asset, account) DO UPDATE SET amount = excluded.amount",
        [(*key, amount) for key, amount in _changed(before.balances, after.balances)],
    )
