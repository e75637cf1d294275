"""A small service that joins: a pair is complete once both halves have come. Until then it has published nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from millpond.events.event import Event
from millpond.events.topic import Topic, Written
from millpond.stream.decision import Decision, Input, Outgoing, Received, Tick, Timer
from millpond.stream.main import run_service
from millpond.stream.service import Service
from stream.tally import dead_letters_topic, tally

PARTITIONS = 3
# How long after its second half a pair is sealed: far enough that no test waits for it.
SEALED_AFTER_MS = 100 * 365 * 86_400_000


class Half(Event):
    """One half of a pair."""

    pair: str
    worth: int


class Paired(Event):
    """Both halves have come."""

    pair: str
    left: int
    right: int


def halves_topic(name: str, side: str) -> Topic:
    return Topic(
        f"{name}.{side}.v1",
        "pair",
        PARTITIONS,
        owner="splitter",
        readers=(name,),
        poison="stop",
        written=Written.BY_SOURCE,
        items_kept=True,
        events=(Half,),
    )


def paired_topic(name: str) -> Topic:
    return Topic(f"{name}.paired.v1", "pair", PARTITIONS, owner=name, readers=(), poison="stop", events=(Paired,))


# Left and right, each None until it has come.
Pairs = Mapping[str, tuple[int | None, int | None]]


class PairStore:
    """One row a pair."""

    schema = 'CREATE TABLE IF NOT EXISTS pairs (pair text PRIMARY KEY, "left" bigint, "right" bigint)'

    async def load(self, connection: asyncpg.Connection, keys: Sequence[str] | None) -> Pairs:
        rows = await connection.fetch("SELECT * FROM pairs WHERE $1::text[] IS NULL OR pair = ANY($1)", keys)
        return {row["pair"]: (row["left"], row["right"]) for row in rows}

    async def save(self, connection: asyncpg.Connection, before: Pairs, after: Pairs) -> None:
        await connection.executemany(
            """
            INSERT INTO pairs VALUES ($1, $2, $3)
            ON CONFLICT (pair) DO UPDATE SET "left" = excluded."left", "right" = excluded."right"
            """,
            [(pair, *halves) for pair, halves in after.items() if before.get(pair) != halves],
        )


def pairs(name: str, shape: str = "grouped") -> Service[Pairs]:
    left, right, paired = halves_topic(name, "left"), halves_topic(name, "right"), paired_topic(name)

    def decide(known: Pairs, received: Input) -> Decision[Pairs]:
        if isinstance(received, Tick):
            return Decision(known)
        half = received.event
        assert isinstance(half, Half)
        before = known.get(half.pair, (None, None))
        if None not in before:
            return Decision(known)  # published already: a rebuild reads the halves again
        after = (half.worth, before[1]) if received.topic == left.name else (before[0], half.worth)
        state = {**known, half.pair: after}
        if after[0] is None or after[1] is None:
            return Decision(state)
        event = Paired(pair=half.pair, left=after[0], right=after[1])
        outgoing = Outgoing(paired, half.pair, event, received.stamp_ms)
        return Decision(state, (outgoing,), (Timer(half.pair, received.stamp_ms + SEALED_AFTER_MS),))

    def fold(known: Pairs, published: Received) -> Decision[Pairs]:
        event = published.event
        assert isinstance(event, Paired)
        timer = Timer(event.pair, published.stamp_ms + SEALED_AFTER_MS)
        return Decision({**known, event.pair: (event.left, event.right)}, timers=(timer,))

    return Service(
        name=name,
        shape=shape,  # type: ignore[arg-type]
        reads=(left, right),
        writes=(paired,),
        dead_letters=dead_letters_topic(name, PARTITIONS),
        decide=decide,
        store=PairStore(),
        fold=fold,
        rebuild_reads_from="beginning",
    )


def build() -> Service[Any]:
    """What the environment names, for ``--build stream.pairs:build``."""
    make = {"pairs": pairs, "tally": tally}[os.environ.get("SERVICE_KIND", "pairs")]
    return make(os.environ["TALLY_NAME"], os.environ.get("TALLY_SHAPE", "grouped"))


if __name__ == "__main__":
    sys.exit(run_service(build))
