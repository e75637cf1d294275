"""A small service on the stream library: adds up drops per bucket. Run as a program by the tests that kill it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from millpond.events.deadletters import DeadLettered, ReAdmitted, Resumed, Skipped, Stopped
from millpond.events.event import Event
from millpond.events.topic import Topic, Written
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.stream.main import run_service
from millpond.stream.service import Service

PARTITIONS = 4


class Drop(Event):
    """Something falls into a bucket."""

    bucket: str
    amount: int


class Level(Event):
    """How full a bucket is, and after how many drops."""

    bucket: str
    total: int
    drops: int


def drops_topic(name: str, **changes: Any) -> Topic:
    facts: dict[str, Any] = {
        "written": Written.BY_SOURCE,
        "items_kept": True,
        "poison": "stop",
        "partitions": PARTITIONS,
    }
    return Topic(f"{name}.drops.v1", "bucket", owner="rain", readers=(name,), events=(Drop,), **{**facts, **changes})


def levels_topic(name: str, partitions: int = PARTITIONS) -> Topic:
    return Topic(f"{name}.levels.v1", "bucket", partitions, owner=name, readers=(), poison="stop", events=(Level,))


def dead_letters_topic(name: str, partitions: int = PARTITIONS) -> Topic:
    events = (DeadLettered, Stopped, Resumed, Skipped, ReAdmitted)
    return Topic(f"{name}.deadletters.v1", "as the original", partitions, name, (name,), poison=None, events=events)


Buckets = Mapping[str, tuple[int, int]]


class BucketStore:
    """One row a bucket: the total and how many drops."""

    schema = (
        "CREATE TABLE IF NOT EXISTS buckets (bucket text PRIMARY KEY, total bigint NOT NULL, drops bigint NOT NULL)"
    )

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> Buckets:
        rows = await connection.fetch("SELECT * FROM buckets WHERE $1::text[] IS NULL OR bucket = ANY($1)", keys)
        return {row["bucket"]: (row["total"], row["drops"]) for row in rows}

    async def save(self, connection: asyncpg.Connection, before: Buckets, after: Buckets) -> None:
        changed = [(bucket, *level) for bucket, level in after.items() if before.get(bucket) != level]
        await connection.execute(
            """
            INSERT INTO buckets SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])
            ON CONFLICT (bucket) DO UPDATE SET total = excluded.total, drops = excluded.drops
            """,
            *map(list, zip(*changed, strict=True)),
        )


def tally(name: str, shape: str = "grouped", **changes: Any) -> Service[Buckets]:
    levels = levels_topic(name)

    def decide(buckets: Buckets, received: Input) -> Decision[Buckets]:
        assert isinstance(received, Received)
        drop = received.event
        assert isinstance(drop, Drop)
        total, drops = buckets.get(drop.bucket, (0, 0))
        level = (total + drop.amount, drops + 1)
        event = Level(bucket=drop.bucket, total=level[0], drops=level[1])
        outgoing = Outgoing(levels, drop.bucket, event, received.stamp_ms)
        return Decision({**buckets, drop.bucket: level}, (outgoing,))

    def fold(buckets: Buckets, published: Received) -> Decision[Buckets]:
        level = published.event
        assert isinstance(level, Level)
        return Decision({**buckets, level.bucket: (level.total, level.drops)})

    facts: dict[str, Any] = {
        "reads": (drops_topic(name),),
        "writes": (levels,),
        "decide": decide,
        "fold": fold,
        "store": BucketStore(),
        "dead_letters": dead_letters_topic(name),
        "keys": lambda received: (received.key,) if isinstance(received, Received) else (),
    }
    return Service(
        name=name,
        shape=shape,
        **{**facts, **changes},
    )


if __name__ == "__main__":
    sys.exit(run_service(lambda: tally(os.environ["TALLY_NAME"], os.environ.get("TALLY_SHAPE", "grouped"))))
