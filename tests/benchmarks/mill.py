"""The service that is measured: each grain gives one flour, and a total per sack is kept in the database."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

import asyncpg

from millpond.events.event import Event
from millpond.events.topic import Topic
from millpond.stream.decision import Decision, Input, Outgoing, Received
from millpond.stream.main import run_service
from millpond.stream.service import Service

PARTITIONS = 4


class Grain(Event):
    """An input the size of a usual event."""

    sack: str
    grams: int
    note: str


class Flour(Event):
    """An output the size of a usual event."""

    sack: str
    grams: int
    total_grams: int
    note: str


class SackStore:
    """One row a sack."""

    schema = "CREATE TABLE IF NOT EXISTS sacks (sack text PRIMARY KEY, total_grams bigint NOT NULL)"

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> dict[str, int]:
        rows = await connection.fetch("SELECT * FROM sacks WHERE $1::text[] IS NULL OR sack = ANY($1)", keys)
        return dict(map(tuple, rows))

    async def save(self, connection: asyncpg.Connection, before: Mapping[str, int], after: Mapping[str, int]) -> None:
        await connection.execute(
            """
            INSERT INTO sacks SELECT * FROM unnest($1::text[], $2::bigint[])
            ON CONFLICT (sack) DO UPDATE SET total_grams = excluded.total_grams
            """,
            list(after),
            list(after.values()),
        )


def grain_topic(name: str) -> Topic:
    return Topic(f"{name}.grain.v1", "sack", PARTITIONS, owner="farm", readers=(name,), poison="stop", events=(Grain,))


def flour_topic(name: str) -> Topic:
    return Topic(f"{name}.flour.v1", "sack", PARTITIONS, owner=name, readers=(), poison="stop", events=(Flour,))


def mill(name: str) -> Service[dict[str, int]]:
    flour = flour_topic(name)

    def decide(totals: dict[str, int], received: Input) -> Decision[dict[str, int]]:
        assert isinstance(received, Received)
        grain = received.event
        assert isinstance(grain, Grain)
        # The state is loaded for this transaction alone, so it may be changed in place.
        total = totals[grain.sack] = totals.get(grain.sack, 0) + grain.grams
        event = Flour(sack=grain.sack, grams=grain.grams, total_grams=total, note=grain.note)
        return Decision(totals, (Outgoing(flour, grain.sack, event, received.stamp_ms),))

    return Service(
        name=name,
        shape="grouped",
        reads=(grain_topic(name),),
        writes=(flour,),
        dead_letters=Topic(f"{name}.deadletters.v1", "as the original", PARTITIONS, name, (name,), poison=None),
        decide=decide,
        store=SackStore(),
    )


if __name__ == "__main__":
    sys.exit(run_service(lambda: mill(os.environ["MILL_NAME"])))
