"""One transaction on PostgreSQL, in the order of STREAM 6: lease, positions, keys, rules' reads and writes, outbox."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence

import asyncpg

from millpond.stream.database import (
    DeadLetter,
    Item,
    ItemVerdict,
    Lease,
    LeaseLost,
    Move,
    OutboxRow,
    PositionMoved,
    judge_items,
)
from millpond.stream.decision import Timer
from millpond.stream.outlet import partition_of
from millpond.stream.postgres.rows import insert_rows
from millpond.stream.record import Place

# Advisory locks live in a table that all of a server's sessions share: keys are folded into this many. A power of two, as
# the number of a topic's partitions usually is: then keys of different partitions never share a lock (``key_lock``).
KEY_LOCKS = 4_096
OUTBOX_COLUMNS = {
    "topic": "text",
    "partition": "int",
    "key": "bytea",
    "value": "bytea",
    "event_type": "text",
    "time_ms": "bigint",
    "headers": "text",
}


class PostgresTransaction:
    """One transaction of ``PostgresDatabase``; see ``millpond.stream.database.Transaction``."""

    def __init__(self, connection: asyncpg.Connection, lock_space: str) -> None:
        self.connection = connection
        self._lock_space = lock_space

    async def hold_lease(self, lease: Lease) -> None:
        # hold_lease: FOR SHARE, so that a takeover (an UPDATE) waits for our commit and we can't commit after it.
        held = await self.connection.fetchval(
            "SELECT 1 FROM leases WHERE name = $1 AND epoch = $2 AND owner = $3 FOR SHARE",
            lease.name,
            lease.epoch,
            lease.owner,
        )
        if held is None:
            raise LeaseLost(name=lease.name, epoch=lease.epoch)

    async def advance(self, moves: Sequence[Move]) -> None:
        # advance: takes the batches if nobody has moved the positions since we read them. A row missing: not ours any more.
        ordered = sorted(moves, key=lambda move: move.place)
        moved = await self.connection.fetch(
            """
            UPDATE positions p SET next_offset = m.next_offset, last_hash = m.last_hash, numbers = m.numbers::jsonb
            FROM unnest($1::text[], $2::int[], $3::bigint[], $4::bigint[], $5::bytea[], $6::text[])
                AS m(topic, partition, expected, next_offset, last_hash, numbers)
            WHERE p.topic = m.topic AND p.partition = m.partition AND p.next_offset = m.expected
            RETURNING p.topic, p.partition
            """,
            [move.place.topic for move in ordered],
            [move.place.partition for move in ordered],
            [move.before.next_offset for move in ordered],
            [move.after.next_offset for move in ordered],
            [move.after.last_hash for move in ordered],
            [json.dumps(dict(move.after.numbers)) for move in ordered],
        )
        taken = {(row["topic"], row["partition"]) for row in moved}
        for move in ordered:
            if move.place not in taken:
                raise PositionMoved(place=move.place, expected=move.before.next_offset)

    async def lock(self, keys: Iterable[str]) -> None:
        space, slots = lock_id(self._lock_space + "/keys"), sorted(set(map(key_lock, keys)))
        # Advisory, because a row lock misses the row that doesn't exist yet; in order, so that two batches can't deadlock.
        await self.connection.execute(
            "SELECT pg_advisory_xact_lock($1, slot) FROM unnest($2::int[]) AS slot", space, slots
        )

    async def admit(self, items: Sequence[Item]) -> list[ItemVerdict]:
        if not items:
            return []
        columns = [i.topic for i in items], [i.identity for i in items], [i.content_hash for i in items]
        # admit: an identity counts once, for ever; of repeats within the batch the first is inserted.
        inserted = await self.connection.fetch(
            """
            INSERT INTO items (topic, identity, content_hash)
            SELECT DISTINCT ON (topic, identity) topic, identity, content_hash
            FROM unnest($1::text[], $2::text[], $3::bytea[]) WITH ORDINALITY AS i(topic, identity, content_hash, n)
            ORDER BY topic, identity, n
            ON CONFLICT DO NOTHING RETURNING topic, identity
            """,
            *columns,
        )
        known = await self.connection.fetch(
            "SELECT topic, identity, content_hash FROM items JOIN unnest($1::text[], $2::text[]) AS i(topic, identity) "
            "USING (topic, identity)",
            *columns[:2],
        )
        hashes = {(row["topic"], row["identity"]): row["content_hash"] for row in known}
        return judge_items(items, new={(row["topic"], row["identity"]) for row in inserted}, hashes=hashes)

    async def still_here(self) -> None:
        await self.connection.execute("SELECT")

    async def take_timers(self, scope: Place, now_ms: int) -> tuple[int, list[str]]:
        # take_timers: whoever deletes them has them; a second process finds none.
        rows = await self.connection.fetch(
            "DELETE FROM timers WHERE topic = $1 AND partition = $2 AND at_ms <= $3 RETURNING name, at_ms",
            *scope,
            now_ms,
        )
        if not rows:
            return now_ms, []
        as_of_ms = await self.connection.fetchval(
            """
            INSERT INTO clocks (topic, partition, as_of_ms) VALUES ($1, $2, $3)
            ON CONFLICT (topic, partition) DO UPDATE SET as_of_ms = greatest(clocks.as_of_ms, excluded.as_of_ms)
            RETURNING as_of_ms
            """,
            *scope,
            now_ms,
        )
        return as_of_ms, [row["name"] for row in sorted(rows, key=lambda row: (row["at_ms"], row["name"]))]

    async def set_timers(self, scope: Place, timers: Sequence[Timer]) -> None:
        if not timers:
            return
        latest = {timer.name: timer.at_ms for timer in timers}
        await self.connection.execute(
            "DELETE FROM timers WHERE topic = $1 AND partition = $2 AND name = ANY($3)", *scope, list(latest)
        )
        await self.connection.executemany(
            "INSERT INTO timers (topic, partition, name, at_ms) VALUES ($1, $2, $3, $4)",
            [(*scope, name, at_ms) for name, at_ms in latest.items() if at_ms is not None],
        )

    async def put_dead_letters(self, letters: Sequence[DeadLetter]) -> list[bool]:
        return [await self._put_dead_letter(letter) for letter in letters]

    async def _put_dead_letter(self, letter: DeadLetter) -> bool:
        # put_dead_letter: once per record and state, so that it is published once.
        return bool(
            await self.connection.fetchval(
                """
                INSERT INTO dead_letters VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                ON CONFLICT (topic, partition, record_offset)
                DO UPDATE SET state = excluded.state, reason = excluded.reason WHERE dead_letters.state <> excluded.state
                RETURNING true
                """,
                *letter.place,
                letter.offset,
                letter.key,
                letter.value,
                encode_headers(letter.headers),
                letter.timestamp_ms,
                letter.content_hash,
                letter.reason,
                letter.state,
            )
        )

    async def find_dead_letter(self, place: Place, offset: int) -> DeadLetter | None:
        row = await self.connection.fetchrow(
            "SELECT * FROM dead_letters WHERE topic = $1 AND partition = $2 AND record_offset = $3", *place, offset
        )
        return None if row is None else dead_letter_from(row)

    async def last_nonce(self, signer: str, topic: str, key: str) -> int | None:
        nonce = await self.connection.fetchval(
            "SELECT nonce FROM operator_nonces WHERE signer = $1 AND topic = $2 AND key = $3", signer, topic, key
        )
        return None if nonce is None else int(nonce)

    async def put_nonce(self, signer: str, topic: str, key: str, nonce: int) -> None:
        await self.connection.execute(
            """
            INSERT INTO operator_nonces VALUES ($1, $2, $3, $4)
            ON CONFLICT (signer, topic, key) DO UPDATE SET nonce = excluded.nonce
            """,
            signer,
            topic,
            key,
            nonce,
        )

    async def put_outbox(self, rows: Sequence[OutboxRow]) -> None:
        if not rows:
            return
        # Held until commit: without it a number could be given before, and become visible after, a higher one (incident 57).
        await self.connection.execute("SELECT pg_advisory_xact_lock($1, 0)", lock_id(self._lock_space + "/outbox"))
        await insert_rows(
            self.connection,
            "outbox",
            OUTBOX_COLUMNS,
            [(r.topic, r.partition, r.key, r.value, r.event_type, r.time_ms, r.headers) for r in rows],
        )


def lock_id(purpose: str) -> int:
    """A 32-bit name for an advisory lock; two purposes that collide wait for each other, no more."""
    return zlib.crc32(purpose.encode()) - 2**31


def key_lock(key: str) -> int:
    """Which of the ``KEY_LOCKS`` a key has: chosen as Kafka chooses a partition.

    With any other hash two transactions of some hundred keys each, of different partitions, nearly always share a lock,
    and instances decide one after the other.
    """
    return partition_of(key.encode(), KEY_LOCKS)


def encode_headers(headers: Sequence[tuple[str, bytes | None]]) -> str:
    return json.dumps([[name, None if value is None else b64encode(value).decode()] for name, value in headers])


def dead_letter_from(row: asyncpg.Record) -> DeadLetter:
    headers = tuple((name, None if value is None else b64decode(value)) for name, value in json.loads(row["headers"]))
    return DeadLetter(
        place=Place(row["topic"], row["partition"]),
        offset=row["record_offset"],
        key=row["key"],
        value=row["value"],
        headers=headers,
        timestamp_ms=row["timestamp_ms"],
        content_hash=row["content_hash"],
        reason=row["reason"],
        state=row["state"],
    )
